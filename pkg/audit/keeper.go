package audit

import (
	"context"
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
	chain *chain
	store HeadStore
	own   *dirHeads // set when store is the directory's own
	wake  chan struct{}
	quit  context.CancelFunc
	ready chan struct{} // closed after the first attempt to check
	ended chan struct{}

	mu   sync.Mutex
	head Head
	gaps int

	// Only the keeper's goroutine touches what follows.
	checked bool // what the store held was looked for in the log; until then it must not be overwritten
	saved   Head
	forced  int // how many gaps the store has been told of
	failing bool
}

func startKeepers(c *chain) []*keeper {
	own := &dirHeads{c.log.cfg.Dir}
	keepers := []*keeper{{chain: c, store: own, own: own, checked: true}}
	if store := c.log.cfg.Heads; store != nil {
		keepers = append(keepers, &keeper{chain: c, store: store})
	}
	for _, k := range keepers {
		ctx, cancel := context.WithCancel(context.Background())
		k.wake, k.quit = make(chan struct{}, 1), cancel
		k.ready, k.ended = make(chan struct{}), make(chan struct{})
		go k.run(ctx)
	}
	return keepers
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
		k.chain.log.cfg.Logger.Warn("audit: head store does not answer", "category", k.chain.category)
	}
}

func (k *keeper) run(ctx context.Context) {
	defer close(k.ended)
	if !k.checked {
		k.attempt(ctx)
	}
	close(k.ready)
	for {
		var again <-chan time.Time
		if k.failing {
			again = time.After(keepAgain)
		}
		select {
		case <-k.wake:
			k.attempt(ctx)
		case <-again:
			k.attempt(ctx)
		case <-ctx.Done():
			k.attempt(ctx)
			return
		}
		select {
		case <-time.After(keepEvery):
		case <-ctx.Done():
		}
	}
}

func (k *keeper) attempt(ctx context.Context) {
	err := k.keep(ctx)
	if err != nil && !k.failing {
		k.chain.log.cfg.Logger.Warn("audit: head could not be kept", "category", k.chain.category, "err", err)
	}
	k.failing = err != nil
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
	if k.own != nil {
		save = func() error {
			return k.own.exclusive(k.chain.category, func() error { return k.replace(head, gaps > k.forced) })
		}
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
	case head.validate(k.chain.category) != nil:
		k.forced = -1 // as good as none: to be replaced, whatever seq it claims
	default:
		select {
		case <-k.chain.claim(head):
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
	return k.store.Save(ctx, k.chain.category, head)
}

func (k *keeper) load() (Head, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return k.store.Load(ctx, k.chain.category)
}
