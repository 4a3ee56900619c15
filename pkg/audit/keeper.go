package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	keepEvery    = 100 * time.Millisecond // no head is saved sooner after the one before
	keepAgain    = 5 * time.Second        // after a failure, when nothing new comes sooner
	storeTimeout = time.Second            // for one call of a HeadStore
)

// keeper saves the newest head that is on disk, in the background: a slow store delays no entry. A head that is kept
// late is only old, and an old head is still in the chain.
type keeper struct {
	category  Category
	store     HeadStore
	claim     func(Head) <-chan struct{}    // has the writer look for what the store holds; nil if the writer does by itself
	exclusive func(save func() error) error // lets no other process save meanwhile; nil where nobody can
	log       *slog.Logger
	wake      chan struct{}
	quit      context.CancelFunc
	ready     chan struct{} // closed after the first attempt to check
	ended     chan struct{}

	mu   sync.Mutex
	head Head
	gaps int

	turn chan struct{} // holds one during an attempt, which alone touches what follows

	checked bool // what the store held was looked for in the log; until then it must not be overwritten
	saved   Head
	forced  int // how many gaps the store has been told of
	failing bool
}

func (k *keeper) start() *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k.checked = k.claim == nil
	k.wake, k.quit = make(chan struct{}, 1), cancel
	k.turn = make(chan struct{}, 1)
	k.ready, k.ended = make(chan struct{}), make(chan struct{})
	go k.run(ctx)
	return k
}

// offer gives the keeper a newer head to save. gaps counts the gaps noted so far: after another one, the head may be
// lower than the one kept.
func (k *keeper) offer(h Head, gaps int) {
	k.mu.Lock()
	k.head, k.gaps = h, gaps
	k.mu.Unlock()
	signal(k.wake)
}

// awaitCheck waits until the store's old head has been looked at, which a process with a short life may have to wait for.
func (k *keeper) awaitCheck() {
	select {
	case <-k.ready:
	case <-time.After(storeTimeout):
	}
}

// stop saves the last head and ends the keeper. A store that does not answer is not waited for.
func (k *keeper) stop() {
	k.quit()
	select {
	case <-k.ended:
	case <-time.After(2 * storeTimeout):
		k.log.Warn("audit: head store does not answer", "category", k.category)
	}
}

func (k *keeper) run(ctx context.Context) {
	defer close(k.ended)
	failing := false
	if k.claim != nil {
		failing = k.attempt(ctx) != nil
	}
	close(k.ready)
	for {
		var again <-chan time.Time
		if failing {
			again = time.After(keepAgain)
		}
		select {
		case <-k.wake:
		case <-again:
		case <-ctx.Done():
			_ = k.attempt(ctx)
			return
		}
		failing = k.attempt(ctx) != nil
		select {
		case <-time.After(keepEvery):
		case <-ctx.Done():
		}
	}
}

// attempt saves the head if there is a newer one, and says in the log that it cannot, once.
func (k *keeper) attempt(ctx context.Context) error {
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	err := k.keep(ctx)
	if err != nil && !k.failing {
		k.log.Warn("audit: head could not be kept", "category", k.category, "err", err)
	}
	k.failing = err != nil
	return err
}

// now makes an attempt unless ctx ends before that is possible.
func (k *keeper) now(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- k.attempt(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keeper) keep(ctx context.Context) error {
	if err := k.check(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	head, gaps := k.head, k.gaps
	k.mu.Unlock()
	if head == k.saved || head.Seq == 0 || !k.checked {
		return nil
	}
	save := func() error { return k.replace(head, gaps > k.forced) }
	if unguarded := save; k.exclusive != nil {
		save = func() error { return k.exclusive(unguarded) }
	}
	if err := save(); err != nil {
		return err
	}
	k.saved, k.forced = head, gaps
	return nil
}

// check has the writer look for the head that the store held before this process saved any. The first save waits for
// it: otherwise a new head would cover up that the tail with the old one was cut off.
func (k *keeper) check(ctx context.Context) error {
	if k.checked {
		return nil
	}
	head, found, err := k.load()
	if err != nil {
		return err
	}
	switch {
	case !found:
	case head.validate(k.category) != nil:
		k.forced = -1 // as good as none: to be replaced, whatever seq it claims
	default:
		select {
		case <-k.claim(head):
		case <-ctx.Done(): // the writer may have ended; what the store holds stays as it is
			return nil
		}
	}
	k.checked = true
	return nil
}

// replace saves head unless another process has kept a later one.
func (k *keeper) replace(head Head, force bool) error {
	if !force {
		kept, found, err := k.load()
		if err == nil && found && kept.Seq >= head.Seq {
			return nil
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return k.store.Save(ctx, k.category, head)
}

func (k *keeper) load() (Head, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return k.store.Load(ctx, k.category)
}
