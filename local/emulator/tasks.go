package emulator

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
)

// Message is one message of a queue that calls a function.
type Message struct {
	Body     string
	Group    string // of a FIFO queue
	Received int    // how often it has been received, this time included
}

// Deliver calls a function with messages of a queue, as one SQS event, and returns for each of them the error for which
// it must come again, or nil. An event that fails as a whole fails for all of its messages.
func (e *Emulator) Deliver(ctx context.Context, function, queue string, messages ...Message) []error {
	failed := make([]error, len(messages))
	event, index := sqsEvent(queue, messages)
	answer, err := e.invokeJSON(ctx, function, event)
	var response events.SQSEventResponse
	if err == nil {
		err = json.Unmarshal(answer.Payload, &response)
	}
	if err != nil {
		for i := range failed {
			failed[i] = err
		}
		return failed
	}
	for _, f := range response.BatchItemFailures {
		if i, ok := index[f.ItemIdentifier]; ok {
			failed[i] = fmt.Errorf("function %s says that it must come again", function)
		}
	}
	return failed
}

func sqsEvent(queue string, messages []Message) (event events.SQSEvent, index map[string]int) {
	index = map[string]int{}
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	for i, m := range messages {
		id := uuid.NewString()
		index[id] = i
		event.Records = append(event.Records, events.SQSMessage{
			MessageId: id, ReceiptHandle: id, Body: m.Body, AWSRegion: "local", EventSource: "aws:sqs",
			EventSourceARN: "arn:aws:sqs:local:" + accountNumber + ":" + queue,
			Attributes: map[string]string{
				"ApproximateReceiveCount": strconv.Itoa(m.Received), "SentTimestamp": now, "ApproximateFirstReceiveTimestamp": now,
				"MessageGroupId": m.Group,
			},
		})
	}
	return event, index
}

// Tick calls a function as its schedule does.
func (e *Emulator) Tick(ctx context.Context, function string) error {
	_, err := e.invokeJSON(ctx, function, events.EventBridgeEvent{
		ID: uuid.NewString(), DetailType: "Scheduled Event", Source: "aws.events", AccountID: accountNumber, Time: time.Now().UTC(),
		Region: "local", Resources: []string{"arn:aws:events:local:" + accountNumber + ":rule/" + function}, Detail: json.RawMessage("{}"),
	})
	return err
}

// invokeJSON makes an error of a function's own.
func (e *Emulator) invokeJSON(ctx context.Context, function string, event any) (Answer, error) {
	data, err := json.Marshal(event)
	if err != nil {
		return Answer{}, err
	}
	answer, err := e.Invoke(ctx, function, data)
	if err == nil && answer.Failed {
		err = fmt.Errorf("function %s: %s", function, answer.Payload)
	}
	return answer, err
}
