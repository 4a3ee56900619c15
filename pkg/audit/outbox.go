package audit

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// maxBody is how long a message may be, in bytes: ten of them, which is what SQS hands out at once, fit into one event of
// a function (6 MB) with what JSON adds to them.
const maxBody = 256 << 10

// Sender puts messages into a queue that keeps those of a group in order.
type Sender interface {
	// Send puts a message at the end of its group, unless one with its id was sent within the last minutes. When it returns
	// nil the queue has the message and will deliver it, once or more often. After an error it may have it all the same.
	Send(ctx context.Context, group, id, body string) error
}

// OutboxConfig says where an Outbox sends.
type OutboxConfig struct {
	To      Sender
	FullIP  bool             // send addresses whole; false keeps three octets of IPv4, the /48 of IPv6
	Now     func() time.Time // the clock; nil is time.Now
	Metrics *Metrics         // nil counts nothing
}

// Outbox sends events to a queue from which somebody else puts them into the chains: see Ledger.Take. The category is the
// message's group, so each chain gets its events in the order in which they were sent; the event's ID is the message's.
type Outbox struct {
	*scribe
	cfg    OutboxConfig
	closed atomic.Bool
}

// NewOutbox returns an Outbox. It sends nothing yet.
func NewOutbox(cfg OutboxConfig) *Outbox {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Outbox{scribe: newScribe(cfg.FullIP), cfg: cfg}
}

// Append sends the event; when it returns nil, the queue has it. After an error it may be in the log all the same.
func (o *Outbox) Append(ctx context.Context, category Category, event Event) error {
	if o.closed.Load() {
		return ErrClosed
	}
	m, err := o.message(category, event, o.cfg.Now())
	if err != nil {
		return fmt.Errorf("audit: send to %s: %w", category, err)
	}
	if err := o.send(ctx, m); err != nil {
		o.cfg.Metrics.failed(category, 1)
		return fmt.Errorf("audit: send to %s: %w", category, err)
	}
	o.cfg.Metrics.sent(category)
	return nil
}

func (o *Outbox) send(ctx context.Context, m Message) error {
	body, err := m.encode()
	if err != nil {
		return err
	}
	if len(body) > maxBody {
		return errors.New("the event is too long for a queue")
	}
	return o.cfg.To.Send(ctx, string(m.Category), m.EventID, body)
}

// Note is Append: a queue knows no entry that is only nearly durable.
func (o *Outbox) Note(ctx context.Context, category Category, event Event) error {
	return o.Append(ctx, category, event)
}

// Close refuses further events. There is nothing to flush.
func (o *Outbox) Close() error {
	o.closed.Store(true)
	return nil
}
