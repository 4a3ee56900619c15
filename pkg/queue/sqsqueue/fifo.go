package sqsqueue

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pulsevault/pkg/queue"
)

// FIFO is a FIFO queue of messages that are no tasks, as a function is fed from one: in batches, each group in order.
type FIFO struct {
	Client *sqs.Client
	URL    string
	Logger *slog.Logger // of Run
}

// Message is a message of a FIFO.
type Message struct {
	ID, Group, Body string
	Received        int // how often, this time included
}

// OpenFIFO finds the credentials as Open does, and does not ask SQS anything.
func OpenFIFO(ctx context.Context, o Options, log *slog.Logger) (*FIFO, error) {
	client, err := newClient(ctx, o)
	if err != nil {
		return nil, err
	}
	return &FIFO{Client: client, URL: o.URL, Logger: log}, nil
}

func newClient(ctx context.Context, o Options) (*sqs.Client, error) {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(o.Region))
	if err != nil {
		return nil, fmt.Errorf("queue: configure the SQS client; are the AWS_ variables and the files under ~/.aws right? %w", err)
	}
	return sqs.NewFromConfig(c, func(options *sqs.Options) {
		if o.Endpoint != "" {
			options.BaseEndpoint = aws.String(o.Endpoint)
		}
	}), nil
}

// Send puts a message at the end of its group, unless one with its id was sent in the five minutes before. When it returns
// nil, SQS has the message.
func (f *FIFO) Send(ctx context.Context, group, id, body string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := f.Client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &f.URL, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &id,
	})
	if err != nil {
		return queue.Unavailable(fmt.Errorf("send to %s: %w", f.URL, err))
	}
	return nil
}

// Check asks SQS whether the queue is there.
func (f *FIFO) Check(ctx context.Context) error {
	_, err := f.Client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &f.URL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn},
	})
	return err
}

// Run hands out messages until ctx ends: at most so many at a time, one batch after the other. deliver returns for each message
// nil, upon which it is deleted, or why it must come again, once its visibility timeout has ended. What came too often the
// redrive policy moves to the dead letters.
func (f *FIFO) Run(ctx context.Context, most int, deliver func(context.Context, []Message) []error) {
	for ctx.Err() == nil {
		messages, receipts, err := f.receive(ctx, min(most, batchSize))
		if err != nil {
			if ctx.Err() == nil {
				f.Logger.Warn("no messages can be taken from SQS; trying again", "queue", f.URL, "err", err)
				sleep(ctx, pauseAfterError)
			}
			continue
		}
		if len(messages) > 0 {
			f.settle(ctx, receipts, deliver(ctx, messages))
		}
	}
}

// batchSize is the most that SQS hands out at once.
const batchSize = 10

// receive waits for messages, for a while, also when ctx ends meanwhile: what is handed out to somebody who has hung up
// stays hidden.
func (f *FIFO) receive(ctx context.Context, most int) (messages []Message, receipts []string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollFor+settleTimeout)
	defer cancel()
	out, err := f.Client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &f.URL, MaxNumberOfMessages: int32(most), WaitTimeSeconds: seconds(pollFor),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameMessageGroupId,
		},
	})
	if err != nil {
		return nil, nil, err
	}
	for _, m := range out.Messages {
		received, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		messages = append(messages, Message{
			ID: aws.ToString(m.MessageId), Body: aws.ToString(m.Body), Received: received,
			Group: m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)],
		})
		receipts = append(receipts, aws.ToString(m.ReceiptHandle))
	}
	return messages, receipts, nil
}

// settle deletes the messages that were dealt with. One that cannot be deleted comes again.
func (f *FIFO) settle(ctx context.Context, receipts []string, outcomes []error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	for i, receipt := range receipts {
		if outcomes[i] != nil {
			continue
		}
		_, err := f.Client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &f.URL, ReceiptHandle: &receipt})
		if err != nil {
			f.Logger.Warn("a message cannot be deleted and comes again", "queue", f.URL, "err", err)
		}
	}
}
