package app_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
	"pulsevault/pkg/audit/audittest"
)

// auditEvent is an SQS event with messages given as group:id; an id that begins with ! makes one that is no event.
func auditEvent(names ...string) (event events.SQSEvent) {
	for _, name := range names {
		group, id, _ := strings.Cut(name, ":")
		body := fmt.Sprintf(`{"category":%q,"eventId":%q,"time":"2026-01-31T23:59:59.25Z","event":{"action":"media.served"}}`, group, id)
		if strings.HasPrefix(id, "!") {
			body = "hello"
		}
		event.Records = append(event.Records, events.SQSMessage{
			MessageId: name, Body: body, Attributes: map[string]string{"MessageGroupId": group, "ApproximateReceiveCount": "1"},
		})
	}
	return event
}

type recording struct {
	app.Recorder
	bucket *audittest.Bucket
	log    bytes.Buffer
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	r := &recording{bucket: audittest.NewBucket(t)}
	r.Log = slog.New(slog.NewTextHandler(&r.log, nil))
	ledger, err := audit.OpenLedger(audit.LedgerConfig{Bucket: r.bucket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	r.Ledger = ledger
	return r
}

// wants records messages and compares those that must come again.
func (r *recording) wants(t *testing.T, again []string, names ...string) {
	t.Helper()
	response, err := r.RecordBatch(t.Context(), auditEvent(names...))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range response.BatchItemFailures {
		got = append(got, f.ItemIdentifier)
	}
	slices.Sort(got)
	if !slices.Equal(got, again) {
		t.Errorf("of %v come again %v, want %v", names, got, again)
	}
}

// ids are those of a chain's entries.
func (r *recording) ids(t *testing.T, c audit.Category) (ids []string) {
	t.Helper()
	for line := range bytes.Lines(r.bucket.Chain(c)) {
		e, err := audit.ParseLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.EventID)
	}
	return ids
}

func (r *recording) wantLog(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := audit.VerifyBucket(ctx, r.bucket, nil)
	if err != nil || !report.OK() || len(report.Notes) > 0 {
		t.Errorf("%v\n%s", err, report)
	}
}

// The entries of a chain stand in the order in which their messages came, whatever failed in between.
func TestTheAuditFunctionKeepsTheOrder(t *testing.T) {
	r := newRecording(t)
	r.wants(t, nil, "access:1", "upload:1", "access:2")
	r.bucket.Fail(audittest.Failure{Op: "write", Key: "access", Times: 3, How: audittest.NotDone})
	r.wants(t, []string{"access:3", "access:4"}, "access:3", "upload:2", "access:4")
	r.wants(t, nil, "access:3", "access:4", "access:5")
	// All of it was done, but nobody heard.
	r.bucket.Fail(audittest.Failure{Op: "write", Key: "access", Times: 1, How: audittest.Done})
	r.bucket.Fail(audittest.Failure{Op: "read", Key: "access", Times: 3, How: audittest.NotDone})
	r.wants(t, []string{"access:6", "access:7"}, "access:6", "access:7")
	r.wants(t, nil, "access:6", "access:7", "access:8")
	if got := r.ids(t, audit.Access); !slices.Equal(got, []string{"1", "2", "3", "4", "5", "6", "7", "8"}) {
		t.Errorf("the chain holds %v", got)
	}
	if got := r.ids(t, audit.Upload); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("the other chain holds %v", got)
	}
	r.wantLog(t)
}

// What is no event goes back by itself, every time, and the log of the function says so.
func TestTheAuditFunctionIsNotHeldUp(t *testing.T) {
	r := newRecording(t)
	for range 2 {
		r.wants(t, []string{"access:!2"}, "access:1", "access:!2", "access:3", "upload:1")
	}
	if got := r.ids(t, audit.Access); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("the chain holds %v", got)
	}
	if said := r.log.String(); strings.Count(said, "level=ERROR") != 2 || !strings.Contains(said, "message=access:!2") {
		t.Errorf("it says %s", said)
	}
	r.wantLog(t)
}

// A head is kept when the function answers: it may be frozen after that.
func TestTheAuditFunctionKeepsHeads(t *testing.T) {
	r := newRecording(t)
	r.wants(t, nil, "access:1", "transcode:1")
	r.bucket.Tamper("audit/access.00000001.log", func([]byte) []byte { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	report, err := audit.VerifyBucket(ctx, r.bucket, nil)
	if err != nil || len(report.Findings) != 1 || !strings.Contains(report.String(), "the kept head (seq 1") {
		t.Errorf("%v\n%s", err, report)
	}
}

// oldHeads is a head store that has a head, which must be looked for in a bucket that is away.
type oldHeads struct{}

func (oldHeads) Load(_ context.Context, c audit.Category) (audit.Head, bool, error) {
	return audit.Head{Seq: 7, File: string(c) + ".00000001.log", End: 1}, true, nil
}

func (oldHeads) Save(context.Context, audit.Category, audit.Head) error { return nil }

// A bucket that is away ends the batch, not the function.
func TestTheAuditFunctionWithoutItsBucket(t *testing.T) {
	r := newRecording(t)
	r.bucket.Fail(audittest.Failure{Op: "read", Times: -1, How: audittest.NotDone})
	ledger, err := audit.OpenLedger(audit.LedgerConfig{Bucket: r.bucket, Heads: oldHeads{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	r.Ledger = ledger
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	response, err := r.RecordBatch(ctx, auditEvent("access:1", "upload:1"))
	if err != nil || len(response.BatchItemFailures) != 2 || ctx.Err() != nil {
		t.Errorf("%+v, %v", response, err)
	}
}

// With no time left, everything comes again.
func TestTheAuditFunctionAnswersInTime(t *testing.T) {
	r := newRecording(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	response, err := r.RecordBatch(ctx, auditEvent("access:1", "upload:1"))
	if err != nil || len(response.BatchItemFailures) != 2 || ctx.Err() != nil {
		t.Errorf("%+v, %v", response, err)
	}
	r.wants(t, nil, "access:1", "upload:1")
	r.wantLog(t)
}
