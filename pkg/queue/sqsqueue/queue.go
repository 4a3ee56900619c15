// Package sqsqueue is the queue on Amazon SQS. It wants a FIFO queue that has a dead-letter queue, FIFO too, and, for the
// pieces of long videos, a second one with a dead-letter queue, which may be the same: a worker looks into the second only
// when it has found nothing in the first, and neither may make it wait by itself (ReceiveMessageWaitTimeSeconds). Without the
// second, pieces wait in the first, in the order of their coming. Beside it stands FIFO, for messages that are no tasks.
//
// A message's body is the payload of its task, its deduplication id the id of the task, such as
//
//	transcode:01890a5d-ac96-774b-bcce-b302099a8057
//
// SQS hands out one message of a group at a time. The group of a piece is its own, so that pieces are worked on side by side;
// of all other tasks it is the id of the video.
//
// SQS drops a message with the id of one that was sent in the five minutes before, done or not; afterwards the task can be
// queued again. It cannot be asked what it holds, so tasks that wait for long are queued more than once, and a handler must
// find that there is nothing left to do. How seldom, see memory.
//
// A worker hides a message for 30 s and renews that every 10 s: a dead worker's tasks are taken over after 30 s at most.
// How often a task has been tried is how often its message has been received, and one try less than the redrive policy's
// maxReceiveCount is made, four at most; whoever receives the message after that abandons the task. So maxReceiveCount
// should be 5 or more. Dead letters are sent to the dead-letter queue and then deleted.
//
// SQS counts each receive. So a task that is given back goes to the end of the queue as a new message, whose attribute
// "tried" holds how often it was tried in truth; only if that cannot be sent is the old one shown again and counted.
package sqsqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// callTimeout bounds a call that somebody waits for.
const callTimeout = 2 * time.Second

// Options say where the queue is.
type Options struct {
	URL       string // of the queue
	PiecesURL string // of the one for pieces; "" means that they wait in the same
	Region    string
	Endpoint  string // of SQS itself; "" means that of AWS in the region
}

// Queue is a queue.Queue. Enqueue never answers Dead: the worker that finds a task dead abandons it.
type Queue struct {
	client *sqs.Client
	lanes  []*lane // in the order in which workers take from them
	memory memory
}

// Open finds the credentials as every AWS client does: in the environment, in the files under ~/.aws, or from the machine.
// It does not ask SQS anything.
func Open(ctx context.Context, o Options) (*Queue, error) {
	client, err := newClient(ctx, o)
	if err != nil {
		return nil, err
	}
	return New(client, o, time.Now), nil
}

// New returns the queue that a client finds where o says. now is time.Now.
func New(client *sqs.Client, o Options, now func() time.Time) *Queue {
	q := &Queue{client: client, memory: memory{now: now}}
	q.lanes = append(q.lanes, &lane{client: client, name: queue.TranscodeQueue, url: o.URL})
	if o.PiecesURL != "" {
		q.lanes = append(q.lanes, &lane{client: client, name: queue.PiecesQueue, url: o.PiecesURL})
	}
	return q
}

// Enqueue queues a task, unless this process remembers that it has.
func (q *Queue) Enqueue(ctx context.Context, t vault.Task) (queue.Outcome, error) {
	payload, err := queue.Encode(t)
	if err != nil {
		return "", err
	}
	if !q.memory.due(t.ID()) {
		return queue.AlreadyQueued, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = q.client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &q.laneOf(t).url, MessageBody: aws.String(string(payload)),
		MessageGroupId: aws.String(group(t)), MessageDeduplicationId: aws.String(t.ID()),
	})
	if err != nil {
		return "", queue.Unavailable(fmt.Errorf("send %s: %w", t.ID(), err))
	}
	q.memory.note(t.ID())
	return queue.Queued, nil
}
