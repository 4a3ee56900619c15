package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
)

// StartHTTP answers for the functions named inside the AWS Lambda runtime, with REST API events. It does not return.
func StartHTTP(functions ...string) {
	a := mustFromEnv()
	lambda.Start(httpadapter.New(undeadlined(a.Handler(functions...))).ProxyWithContext)
}

// StartTasks carries out queued tasks inside the AWS Lambda runtime, with SQS events, and sweeps when a schedule calls. It
// does not return.
func StartTasks() { lambda.Start(mustFromEnv().HandleEvent) }

// HandleEvent answers an SQS event or a scheduled one.
func (a *App) HandleEvent(ctx context.Context, raw json.RawMessage) (any, error) {
	var event struct {
		events.SQSEvent
		Source string `json:"source"` // of an EventBridge event
	}
	if err := json.Unmarshal(raw, &event); err != nil {
		return nil, fmt.Errorf("the event is neither one of SQS nor one of EventBridge: %w", err)
	}
	if event.Source == "aws.events" {
		a.Sweep(ctx)
		a.checkpoint(ctx)
		return struct{}{}, nil
	}
	return a.PerformBatch(ctx, event.SQSEvent)
}

// giveBackTime is what a function keeps of its time to give back what it has not finished.
const giveBackTime = 5 * time.Second

// PerformBatch carries out the tasks of an SQS event and names those that must come again.
func (a *App) PerformBatch(ctx context.Context, event events.SQSEvent) (events.SQSEventResponse, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-giveBackTime))
		defer cancel()
	}
	var response events.SQSEventResponse
	for _, message := range event.Records {
		err := a.performMessage(ctx, message)
		if err == nil || vault.KindOf(err) == vault.Unprocessable {
			continue
		}
		a.Log.ErrorContext(ctx, "task failed", "message", message.MessageId, "error", err)
		a.putOff(ctx, message)
		response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
	}
	return response, nil
}

// errTriedTooOften lets a message that has been given up come again, until the queue puts it among the dead letters.
var errTriedTooOften = errors.New("the task was tried too often")

// performMessage carries out the task of a message. If functions have tried it as often as they may, and ended without a
// word each time, it records that.
func (a *App) performMessage(ctx context.Context, m events.SQSMessage) error {
	t, err := queue.Decode([]byte(m.Body))
	if err != nil {
		return err
	}
	if received(m) > queue.MaxTries {
		return errors.Join(errTriedTooOften, a.abandon(ctx, t))
	}
	return a.Perform(ctx, t, received(m) == queue.MaxTries)
}

// putOff has a failed message come again when it is time for the next try, or at once where only our own time was up. If that
// cannot be said, it comes when the queue's visibility timeout ends. Tasks that are not on SQS are put off by who calls us.
func (a *App) putOff(ctx context.Context, m events.SQSMessage) {
	q, ok := a.queue.(*sqsqueue.Queue)
	if !ok {
		return
	}
	var delay time.Duration
	if ctx.Err() == nil {
		delay = queue.RetryDelay(received(m) - 1)
	}
	if err := q.PutOff(context.WithoutCancel(ctx), m.EventSourceARN, m.ReceiptHandle, delay); err != nil {
		a.Log.WarnContext(ctx, "a message comes again later than it should", "message", m.MessageId, "error", err)
	}
}

// received is how often a message has been received, this time included.
func received(m events.SQSMessage) int {
	n, _ := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	return n
}

// maxDirect is how many bytes of a file in a bucket a function answers with itself: in base64 they fit into 6 MB.
const maxDirect = 4 << 20

func functionLog(c Config) *slog.Logger {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	redisdb.LogTo(log)
	return log
}

func mustFromEnv() *App {
	c, err := ConfigFromEnv(os.Getenv)
	c.maxDirect = maxDirect
	log := functionLog(c)
	var a *App
	if err == nil {
		a, err = New(context.Background(), c, log)
	}
	if err != nil {
		log.Error("cannot start", "error", err)
		os.Exit(1)
	}
	return a
}

// undeadlined gives tusd the deadlines that the adapter's writer does not have. There they mean nothing: the whole request
// has been read before the function is called.
func undeadlined(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(noDeadlines{w}, r)
	})
}

type noDeadlines struct{ http.ResponseWriter }

func (noDeadlines) SetReadDeadline(time.Time) error  { return nil }
func (noDeadlines) SetWriteDeadline(time.Time) error { return nil }
