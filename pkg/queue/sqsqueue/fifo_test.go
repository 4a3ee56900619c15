package sqsqueue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
	"pulsevault/pkg/vault"
)

func fifoWorld(t *testing.T) (*sqstest.Server, sqstest.Queue, *sqsqueue.FIFO) {
	s := sqstest.Start(t)
	q := s.Add("others", 3)
	return s, q, &sqsqueue.FIFO{Client: s.Client(), URL: q.URL(), Logger: s.Logger()}
}

// deliveries runs a FIFO and remembers what it hands out.
type deliveries struct {
	mu      sync.Mutex
	batches [][]string
	fail    func(m sqsqueue.Message) error
}

func (d *deliveries) run(t *testing.T, f *sqsqueue.FIFO) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx, 100, d.deliver) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (d *deliveries) deliver(_ context.Context, messages []sqsqueue.Message) (errs []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var batch []string
	for _, m := range messages {
		batch = append(batch, m.Body)
		errs = append(errs, d.fail(m))
	}
	d.batches = append(d.batches, batch)
	return errs
}

func (d *deliveries) bodies() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(d.batches...)
}

// Each group keeps its order, a batch has ten messages at most, and what was dealt with does not come again.
func TestAFIFOHandsOutBatches(t *testing.T) {
	t.Parallel()
	s, q, f := fifoWorld(t)
	var want []string
	for i := range 12 {
		body := fmt.Sprint(i)
		want = append(want, body)
		for range 2 { // the second one is dropped
			if err := f.Send(t.Context(), "group", "id-"+body, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	d := &deliveries{fail: func(sqsqueue.Message) error { return nil }}
	d.run(t, f)
	waitFor(t, "done", func() bool { return len(q.Bodies()) == 0 })
	if got := d.bodies(); !slices.Equal(got, want) || len(d.batches[0]) != 10 {
		t.Errorf("%v", d.batches)
	}
	if n := len(s.Bodies()); n > 0 {
		t.Errorf("%d messages in the other queue", n)
	}
}

// What fails comes again, and ends among the dead letters; SQS counts.
func TestAFIFOsDeadLetters(t *testing.T) {
	t.Parallel()
	s, q, f := fifoWorld(t)
	for _, body := range []string{"good", "bad"} {
		if err := f.Send(t.Context(), body, body, body); err != nil {
			t.Fatal(err)
		}
	}
	received := 0
	d := &deliveries{fail: func(m sqsqueue.Message) error {
		if m.Group == "good" {
			return nil
		}
		received++
		if m.Received != received || m.ID == "" {
			t.Errorf("%+v, want it received %d times", m, received)
		}
		return errors.New("it is bad")
	}}
	d.run(t, f)
	for n := range 3 {
		// The good one must be gone: its receipt is good for 30 s.
		waitFor(t, "received", func() bool { return len(d.bodies()) == n+2 && len(q.Bodies()) == 1 })
		s.Advance(31 * time.Second)
	}
	waitFor(t, "dead", func() bool { return len(q.DeadLetters()) == 1 && len(q.Bodies()) == 0 })
}

func TestAFIFOWaitsForSQS(t *testing.T) {
	t.Parallel()
	s, q, f := fifoWorld(t)
	s.Fail("SendMessage", 2, false)
	if err := f.Send(t.Context(), "g", "id", "x"); vault.KindOf(err) != vault.Unavailable {
		t.Errorf("sent: %v", err)
	}
	if err := errors.Join(f.Send(t.Context(), "g", "id", "x"), f.Check(t.Context())); err != nil {
		t.Error(err)
	}
	s.Fail("ReceiveMessage", 2, false)
	d := &deliveries{fail: func(sqsqueue.Message) error { return nil }}
	d.run(t, f)
	waitFor(t, "done", func() bool { return len(q.Bodies()) == 0 })
	s.Allow("QueueDoesNotExist")
	lost := &sqsqueue.FIFO{Client: s.Client(), URL: q.URL() + "x"}
	if lost.Check(t.Context()) == nil || lost.Send(t.Context(), "g", "id", "x") == nil {
		t.Error("a queue that is not there is good")
	}
}
