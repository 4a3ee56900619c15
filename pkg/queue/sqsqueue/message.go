package sqsqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pulsevault/pkg/queue"
)

const (
	triedAttribute = "tried"
	// pollFor is how long SQS waits for a message before it answers with none. SQS allows 20 s, but a worker that stops has
	// to wait for the answer: what is handed out to somebody who has hung up stays hidden, and counts as tried.
	pollFor = time.Second
	// settleTimeout bounds the calls that end the work on a message. The lease lasts longer.
	settleTimeout = 5 * time.Second
)

// message is a message that was received.
type message struct {
	from                     *lane
	id, receipt, body, group string
	tried                    int // how often its task was tried before
}

// receive waits for a message, for a time, also when the worker stops meanwhile.
func (s *shift) receive(l *lane, wait time.Duration) (*message, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.stop), wait+settleTimeout)
	defer cancel()
	out, err := l.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &l.url, MaxNumberOfMessages: 1, WaitTimeSeconds: seconds(wait), VisibilityTimeout: seconds(s.lease()),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameMessageGroupId,
		},
		MessageAttributeNames: []string{triedAttribute},
	})
	if err != nil || len(out.Messages) == 0 {
		return nil, err
	}
	m := out.Messages[0]
	received, err := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if err != nil {
		return nil, fmt.Errorf("receive count of message %s: %w", aws.ToString(m.MessageId), err)
	}
	before, _ := strconv.Atoi(aws.ToString(m.MessageAttributes[triedAttribute].StringValue)) // most have none
	return &message{
		from: l, id: aws.ToString(m.MessageId), receipt: aws.ToString(m.ReceiptHandle), body: aws.ToString(m.Body),
		group: m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)], tried: before + received - 1,
	}, nil
}

// remove deletes a message for good. If it cannot, the message comes back, and its handler finds that all is done.
func (s *shift) remove(m *message) {
	s.settle(m, "remove", func(ctx context.Context) error {
		_, err := m.from.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &m.from.url, ReceiptHandle: &m.receipt})
		return err
	})
}

// putOff lets a message be received again after a delay that grows with each try.
func (s *shift) putOff(m *message) {
	delay := s.RetryDelay
	if delay == nil {
		delay = queue.RetryDelay
	}
	s.settle(m, "put off", func(ctx context.Context) error { return m.from.hide(ctx, m.receipt, delay(m.tried)) })
}

// giveBack sends a copy that was not received yet before it removes the message. The copy waits behind it.
func (s *shift) giveBack(m *message) {
	if s.settle(m, "give back", func(ctx context.Context) error { return m.copyTo(ctx, m.from.url) }) {
		s.remove(m)
		return
	}
	s.settle(m, "show", func(ctx context.Context) error { return m.from.hide(ctx, m.receipt, 0) })
}

// bury puts a message among the dead letters.
func (s *shift) bury(m *message) {
	dead := s.policies[m.from].dead
	if dead != "" && !s.settle(m, "bury", func(ctx context.Context) error { return m.copyTo(ctx, dead) }) {
		s.putOff(m)
		return
	}
	s.remove(m)
}

// settle makes a call even when the worker stops, and reports whether it went well.
func (s *shift) settle(m *message, what string, call func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.stop), settleTimeout)
	defer cancel()
	err := call(ctx)
	if err != nil {
		s.Logger.Error("SQS was not told what became of a message", "call", what, "message", m.id, "err", err)
	}
	return err == nil
}

// copyTo sends a message again. Its deduplication id is the message's own, so that a repeat sends nothing.
func (m *message) copyTo(ctx context.Context, url string) error {
	_, err := m.from.client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: &m.body, MessageGroupId: &m.group, MessageDeduplicationId: &m.id,
		MessageAttributes: map[string]types.MessageAttributeValue{
			triedAttribute: {DataType: aws.String("Number"), StringValue: aws.String(strconv.Itoa(m.tried))},
		},
	})
	return err
}

func seconds(d time.Duration) int32 { return int32(d.Round(time.Second) / time.Second) }
