package audit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// postTimeout bounds the calls for one group.
const postTimeout = 10 * time.Second

// posting is messages that go into a chain together or not at all.
type posting struct {
	messages []Message
	size     int        // of their events, in bytes
	done     chan error // holds one, so that the writer never waits for a caller who has left
}

func newPosting(m Message) *posting {
	p := &posting{done: make(chan error, 1)}
	p.add(m)
	return p
}

func (p *posting) add(m Message) {
	p.messages = append(p.messages, m)
	p.size += len(m.Event)
}

func (p *posting) await(ctx context.Context, c Category) error {
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("audit: append to %s: waiting: %w", c, ctx.Err())
	}
}

// book appends to one category: its writer takes all waiting postings as one group, and puts them into the chain with one
// write to the bucket. The keepers keep the heads of what is there.
type book struct {
	ledger   *Ledger
	category Category
	keepers  []*keeper
	wake     chan struct{} // there is something to do
	written  chan struct{} // closed when the writer has ended

	mu      sync.Mutex // guards the members down to the next blank line
	waiting []*posting
	claims  []claim
	closed  bool

	// Only the writer touches what follows.
	part    *part // the one that the next entry goes into; nil when that has to be looked up
	earlier *part // the one before it, without its data
	known   int   // the number of a part that was there; 0 before the chain was taken up
	head    Head  // the entry the next one follows
	last    Head  // the last entry this process has written or seen: its own kept head
	gaps    int   // how many gaps this process has found
}

func openBook(l *Ledger, category Category) *book {
	b := &book{ledger: l, category: category, wake: make(chan struct{}, 1), written: make(chan struct{})}
	// Checkpoints that are signed would be one more keeper's to save.
	b.keepers = append(b.keepers, &keeper{category: category, store: bucketHeads{l.cfg.Bucket}, log: l.cfg.Logger})
	if l.cfg.Heads != nil {
		b.keepers = append(b.keepers, &keeper{category: category, store: l.cfg.Heads, claim: b.claim, log: l.cfg.Logger})
	}
	for _, k := range b.keepers {
		k.start()
	}
	go b.runWriter()
	return b
}

func (b *book) enqueue(ctx context.Context, p *posting) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("audit: append to %s: %w", b.category, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.waiting = append(b.waiting, p)
	signal(b.wake)
	return nil
}

func (b *book) claim(h Head) <-chan struct{} {
	checked := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims = append(b.claims, claim{h, checked})
	signal(b.wake)
	return checked
}

func (b *book) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	for _, k := range b.keepers {
		k.awaitCheck() // needs the writer
	}
	signal(b.wake)
	<-b.written
	for _, k := range b.keepers {
		k.stop()
	}
}

func (b *book) runWriter() {
	defer close(b.written)
	for range b.wake {
		for b.postSome() {
		}
		b.mu.Lock()
		end := b.closed && len(b.waiting) == 0
		b.mu.Unlock()
		if end {
			return
		}
	}
}

// next takes one group out of what waits: as much as may be written at once, and one posting at least.
func (b *book) next() (group []*posting, claims []claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, size := 0, 0
	for _, p := range b.waiting {
		messages += len(p.messages)
		size += p.size
		if len(group) > 0 && (messages > maxGroup || size > b.ledger.cfg.partSize) {
			break
		}
		group = append(group, p)
	}
	b.waiting = b.waiting[len(group):]
	return group, b.claims
}

// postSome writes one group and reports whether there may be another.
func (b *book) postSome() bool {
	group, claims := b.next()
	if len(group) == 0 && len(claims) == 0 {
		return false
	}
	var messages []Message
	for _, p := range group {
		messages = append(messages, p.messages...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), postTimeout)
	defer cancel()
	err := b.post(ctx, messages, claims)
	if err != nil {
		b.ledger.cfg.Metrics.failed(b.category, len(messages))
		err = fmt.Errorf("audit: append to %s: %w", b.category, err)
		if len(group) == 0 {
			b.ledger.cfg.Logger.Error("audit: kept head could not be checked", "category", b.category, "err", err)
		}
	} else {
		b.settle(claims)
	}
	for _, p := range group {
		p.done <- err
	}
	return err == nil || len(group) > 0
}

// settle has the head kept and lets those go who wait for a claim. What failed is looked for with the next group.
func (b *book) settle(claims []claim) {
	for _, k := range b.keepers {
		k.offer(b.last, b.gaps)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range claims {
		close(k.checked)
	}
	b.claims = b.claims[len(claims):]
}
