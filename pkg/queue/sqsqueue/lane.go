package sqsqueue

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// lane is one of the queues at SQS that make up a Queue.
type lane struct {
	client *sqs.Client
	name   string // as package queue calls it
	url    string

	mu     sync.Mutex
	policy *policy // once it is known
}

// laneOf is where a task waits.
func (q *Queue) laneOf(t vault.Task) *lane {
	for _, l := range q.lanes {
		if l.name == queue.Of(t) {
			return l
		}
	}
	return q.lanes[0]
}

// group is what is worked on once at a time.
func group(t vault.Task) string {
	if t.Type == vault.TranscodePiece {
		return t.ID()
	}
	return string(t.VideoID)
}

// PutOff lets a message that a function was called with be received again after a time, and not only when its visibility
// timeout ends; 0 is at once. arn is that of its queue, and receipt its own, as the function's event has them.
func (q *Queue) PutOff(ctx context.Context, arn, receipt string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for _, l := range q.lanes { // an ARN ends with ":name", a URL with "/name"
		if strings.HasSuffix(arn, ":"+path.Base(l.url)) {
			return l.hide(ctx, receipt, d)
		}
	}
	return fmt.Errorf("queue: %s is none of our queues", arn)
}

// hide moves the end of a message's visibility timeout.
func (l *lane) hide(ctx context.Context, receipt string, d time.Duration) error {
	_, err := l.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: &l.url, ReceiptHandle: &receipt, VisibilityTimeout: seconds(d),
	})
	return err
}
