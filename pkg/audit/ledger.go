package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bucket is where a Ledger keeps its chains. Any number of processes may use one at once.
type Bucket interface {
	// Read returns an object and the version it has; fs.ErrNotExist if there is none.
	Read(ctx context.Context, key string) (data []byte, version string, err error)
	// Write replaces an object that still has a version, or makes one that is not there yet, which is the version "". When it
	// returns, the object is durable, and every Read sees it. Where the object is another one by now, nothing is written and
	// the error is of the kind vault.Conflict. After any other error the object may have been written, or be written soon.
	Write(ctx context.Context, key string, data []byte, ifVersion string) (version string, err error)
	// List returns the keys that begin with prefix and have no further slash, sorted.
	List(ctx context.Context, prefix string) ([]string, error)
}

// LedgerConfig says where a Ledger writes, and what it tells others.
type LedgerConfig struct {
	Bucket  Bucket
	FullIP  bool             // keep addresses whole; false keeps three octets of IPv4, the /48 of IPv6
	Heads   HeadStore        // where heads are kept outside the bucket; nil keeps them there only
	Now     func() time.Time // the clock; nil is time.Now
	Logger  *slog.Logger     // nil logs nothing
	Metrics *Metrics         // nil counts nothing

	partSize int // all that share a bucket have the same one; set by tests only, which have no time for large parts
}

// Ledger appends to the chains in a bucket. Any number of Ledgers, in any number of processes, may share it, and any
// number of goroutines may use one.
type Ledger struct {
	*scribe
	cfg        LedgerConfig
	books      map[Category]*book
	checkpoint atomic.Uint64 // the number of the newest one that this process knows of
}

// OpenLedger returns a Ledger on a bucket. It reads nothing yet: each chain's end is looked up when the first entry is
// appended.
func OpenLedger(cfg LedgerConfig) (*Ledger, error) {
	if cfg.Bucket == nil {
		return nil, errors.New("audit: no bucket given")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.partSize == 0 {
		cfg.partSize = partSize
	}
	l := &Ledger{scribe: newScribe(cfg.FullIP), cfg: cfg, books: map[Category]*book{}}
	for _, category := range Categories {
		l.books[category] = openBook(l, category)
	}
	return l, nil
}

// Append records the event; when it returns nil, the entry is in the bucket. After an error, and when ctx ends the waiting,
// it may be there all the same; a repeat under the same ID soon after makes no second one.
func (l *Ledger) Append(ctx context.Context, category Category, event Event) error {
	m, err := l.message(category, event, l.cfg.Now())
	if err != nil {
		return fmt.Errorf("audit: append to %s: %w", category, err)
	}
	return l.post(ctx, map[Category]*posting{category: newPosting(m)})[category]
}

// Note is Append: a bucket knows no entry that is only nearly durable.
func (l *Ledger) Note(ctx context.Context, category Category, event Event) error {
	return l.Append(ctx, category, event)
}

// Take appends what came through a queue, in this order, and returns for each message what Append would. Of one category
// either all are appended or none. A message whose eventId stands in the newest two parts of its chain is there already:
// queues deliver more than once. One that can never be an entry gets an error of the kind vault.Unprocessable, and the
// others go on without it.
func (l *Ledger) Take(ctx context.Context, messages ...Message) []error {
	errs := make([]error, len(messages))
	postings := map[Category]*posting{}
	for i, m := range messages {
		if err := m.validate(); err != nil {
			errs[i] = errNoEvent.Because(err)
		} else if p := postings[m.Category]; p != nil {
			p.add(m)
		} else {
			postings[m.Category] = newPosting(m)
		}
	}
	outcomes := l.post(ctx, postings)
	for i, m := range messages {
		if errs[i] == nil {
			errs[i] = outcomes[m.Category]
		}
	}
	return errs
}

// post hands every category its posting before it waits for any of them.
func (l *Ledger) post(ctx context.Context, postings map[Category]*posting) (outcomes map[Category]error) {
	outcomes = map[Category]error{}
	for category, p := range postings {
		outcomes[category] = l.books[category].enqueue(ctx, p)
	}
	for category, p := range postings {
		if outcomes[category] == nil {
			outcomes[category] = p.await(ctx, category)
		}
	}
	return outcomes
}

// KeepHeads saves the heads of what has been appended now, and not soon in the background, for a process that may be
// frozen at any time. An error is no more than a head that is old.
func (l *Ledger) KeepHeads(ctx context.Context) error {
	var keeping errgroup.Group
	for _, b := range l.books {
		for _, k := range b.keepers {
			keeping.Go(func() error { return k.now(ctx) })
		}
	}
	return keeping.Wait()
}

// Close writes what is waiting and keeps the heads. Repeating it does nothing.
func (l *Ledger) Close() error {
	var wg sync.WaitGroup
	for _, b := range l.books {
		wg.Go(b.close)
	}
	wg.Wait()
	return nil
}
