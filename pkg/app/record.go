package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/redisdb"
)

// StartAudit puts the events that AUDIT_QUEUE_URL delivers into the audit log, inside the AWS Lambda runtime, with SQS
// events. It does not return.
func StartAudit() {
	c, err := ConfigFromEnv(os.Getenv)
	log := functionLog(c)
	var r Recorder
	if err == nil {
		r, err = OpenRecorder(context.Background(), c, log)
	}
	if err != nil {
		log.Error("cannot start", "error", err)
		os.Exit(1)
	}
	lambda.Start(r.RecordBatch)
}

// Recorder puts what a queue delivers into the audit log.
type Recorder struct {
	Ledger *audit.Ledger
	Log    *slog.Logger
}

// OpenRecorder opens the audit log alone, to append to it whether there is a queue or not.
func OpenRecorder(ctx context.Context, c Config, log *slog.Logger) (Recorder, error) {
	if !c.InBucket {
		return Recorder{}, errors.New("the function audit records in a bucket only: set STORAGE=s3")
	}
	bucket, err := c.openBucket(ctx)
	if err != nil {
		return Recorder{}, err
	}
	heads := auditHeads{redisdb.Heads{Client: redisdb.Open(c.redis())}}
	ledger, err := audit.OpenLedger(audit.LedgerConfig{Bucket: bucket, Heads: heads, Logger: log})
	return Recorder{Ledger: ledger, Log: log}, err
}

// answerTime is what a recorder keeps of its time to name what is not in the log.
const answerTime = time.Second

// RecordBatch appends the events of an SQS event and names those that must come again: all of a chain or none, so none
// overtakes another that was sent before it. A message that can never be an entry holds nothing up: it alone goes back,
// until the queue puts it among the dead letters.
func (r Recorder) RecordBatch(ctx context.Context, event events.SQSEvent) (response events.SQSEventResponse, _ error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-answerTime))
		defer cancel()
	}
	refuse := func(m events.SQSMessage) {
		response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	var good []events.SQSMessage
	var messages []audit.Message
	for _, record := range event.Records {
		m, err := audit.ParseMessage([]byte(record.Body))
		if err != nil {
			r.Log.ErrorContext(ctx, "a message is no event for the audit log; it goes back until it is a dead letter", "message", record.MessageId,
				"group", record.Attributes["MessageGroupId"], "received", record.Attributes["ApproximateReceiveCount"], "error", err)
			refuse(record)
			continue
		}
		good, messages = append(good, record), append(messages, m)
	}
	for i, err := range r.Ledger.Take(ctx, messages...) {
		if err != nil {
			r.Log.ErrorContext(ctx, "an event is not in the audit log and comes again", "message", good[i].MessageId, "error", err)
			refuse(good[i])
		}
	}
	if err := r.Ledger.KeepHeads(ctx); err != nil {
		r.Log.WarnContext(ctx, "a head of the audit log is old", "error", err)
	}
	return response, nil
}
