package audit_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
	"pulsevault/pkg/vault"
)

// What the real client has sent to a queue is what a Ledger puts into the chain: under the same ID, with the time at which
// it was handed in, and no address that the queue's readers must not see.
func TestAnOutboxSendsWhatALedgerTakes(t *testing.T) {
	t.Parallel()
	s := sqstest.Start(t)
	q := s.Add("audit", 10)
	now := newClock("2026-03-01T23:59:59Z")
	reg := prometheus.NewPedanticRegistry()
	o := audit.NewOutbox(audit.OutboxConfig{
		To: &sqsqueue.FIFO{Client: s.Client(), URL: q.URL(), Logger: s.Logger()}, Now: now.Now, Metrics: audit.NewMetrics(reg),
	})
	events := named("e", 3)
	events[1].Path = "<&>\u2028\ufffe\uffff\x00\xff"
	for i, e := range events {
		send := o.Append
		if i == 2 {
			send = o.Note
		}
		if err := errors.Join(send(t.Context(), audit.Access, e), send(t.Context(), audit.Access, e)); err != nil {
			t.Fatal(err)
		}
	}
	now.set("2026-03-02T00:00:10Z") // when they arrive
	b := newBucket(t)
	l := openLedger(t, audit.LedgerConfig{Bucket: b, Now: now.Now})
	bodies := q.Bodies()
	for _, body := range bodies {
		if strings.Contains(body, "203.0.113.7") || !strings.Contains(body, `"ip":"203.0.113.0"`) {
			t.Errorf("the queue holds %s", body)
		}
		m, err := audit.ParseMessage([]byte(body))
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		take(t, l, m)
	}
	if len(bodies) != 3 {
		t.Errorf("%d messages", len(bodies))
	}
	wantWholeBucket(t, b, 3)
	wantEach(t, b, "e-0", "e-1", "e-2")
	if chain := string(b.Chain(audit.Access)); strings.Count(chain, `"timestamp":"2026-03-01T23:59:59.000000Z"`) != 3 {
		t.Errorf("when were they handed in?\n%s", chain)
	}
	if n := testutil.CollectAndCount(reg, "pulsevault_audit_sent_total"); n != len(audit.Categories) {
		t.Errorf("%d series", n)
	}
}

// A queue that does not take an event is an error, and so is an event that no queue would take.
func TestAnOutboxThatIsRefused(t *testing.T) {
	t.Parallel()
	s := sqstest.Start(t)
	q := s.Add("audit", 10)
	o := audit.NewOutbox(audit.OutboxConfig{To: &sqsqueue.FIFO{Client: s.Client(), URL: q.URL(), Logger: s.Logger()}})
	s.Fail("SendMessage", 2, false)
	if err := o.Append(t.Context(), audit.Upload, event(1)); vault.KindOf(err) != vault.Unavailable {
		t.Errorf("SQS is away: %v", err)
	}
	for name, err := range map[string]error{
		"no action":  o.Append(t.Context(), audit.Access, audit.Event{}),
		"own action": o.Append(t.Context(), audit.Access, audit.Event{Action: audit.ActionGap}),
		"category":   o.Note(t.Context(), "../x", event(1)),
		"id":         o.Append(t.Context(), audit.Access, audit.Event{Action: "a", ID: "a b"}),
		"too large":  o.Append(t.Context(), audit.Access, audit.Event{Action: "a", Path: strings.Repeat("x", 300<<10)}),
	} {
		if err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	if err := o.Append(t.Context(), audit.Access, audit.Event{Action: "a", Path: strings.Repeat("x", 200<<10)}); err != nil {
		t.Error(err)
	}
	// An answer that got lost makes no second message, neither by the client's own tries nor by a caller's.
	s.Fail("SendMessage", 3, true)
	e := event(1)
	e.ID = "once"
	if err := o.Append(t.Context(), audit.Upload, e); err == nil {
		t.Error("the answer should be lost")
	}
	if err := o.Append(t.Context(), audit.Upload, e); err != nil {
		t.Error(err)
	}
	if n := len(q.Bodies()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if err := o.Append(t.Context(), audit.Upload, e); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
