package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"golang.org/x/mod/sumdb/note"

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
	lambda.Start(r.HandleEvent)
}

// Recorder puts what a queue delivers into the audit log.
type Recorder struct {
	Ledger *audit.Ledger
	Signer note.Signer // of checkpoints; nil makes none
	Log    *slog.Logger
}

// HandleEvent answers an SQS event, or makes a checkpoint of the log when a schedule calls.
func (r Recorder) HandleEvent(ctx context.Context, raw json.RawMessage) (any, error) {
	var event struct {
		events.SQSEvent
		Source string `json:"source"` // of an EventBridge event
	}
	if err := json.Unmarshal(raw, &event); err != nil {
		return nil, fmt.Errorf("the event is neither one of SQS nor one of EventBridge: %w", err)
	}
	if event.Source != "aws.events" {
		return r.RecordBatch(ctx, event.SQSEvent)
	}
	if r.Signer == nil {
		warnUnsigned(r.Log)
		return struct{}{}, nil
	}
	_, err := r.Ledger.Checkpoint(ctx, r.Signer, audit.EveryMinute)
	return struct{}{}, errors.Join(err, r.Ledger.KeepHeads(ctx))
}

// OpenRecorder opens the audit log alone, to append to it whether there is a queue or not.
func OpenRecorder(ctx context.Context, c Config, log *slog.Logger) (Recorder, error) {
	if !c.InBucket {
		return Recorder{}, errors.New("the function audit records in a bucket only: set STORAGE=s3")
	}
	signer, err := c.signer()
	if err != nil {
		return Recorder{}, err
	}
	bucket, err := c.openBucket(ctx)
	if err != nil {
		return Recorder{}, err
	}
	heads := auditHeads{redisdb.Heads{Client: redisdb.Open(c.redis())}}
	ledger, err := audit.OpenLedger(audit.LedgerConfig{Bucket: bucket, Heads: heads, Logger: log})
	return Recorder{Ledger: ledger, Signer: signer, Log: log}, err
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
