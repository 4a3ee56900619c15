package audit

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

const (
	// flushAfter is how long a noted entry waits for the disk; with the sync itself it stays below 100 ms.
	flushAfter = 50 * time.Millisecond
	// maxGroup bounds what is written under one lock, so that other processes get their turn.
	maxGroup = 512
)

// chain appends to one category. Three goroutines share the work, so that none waits for a slower one: the writer takes
// all waiting requests as one group and writes them under the file lock; the syncer forces to disk what has been
// written; the keepers keep the heads of what is on disk.
type chain struct {
	log      *Log
	category Category
	lock     *lockFile
	keepers  []*keeper

	wake     chan struct{} // there are requests
	syncNow  chan struct{} // somebody waits for the disk
	syncSoon chan struct{} // something was written, nobody waits
	written  chan struct{} // closed when the writer has ended
	synced   chan struct{} // closed when the syncer has ended

	mu       sync.Mutex // guards the members down to the next blank line
	waiting  []*request
	claims   []claim
	closed   bool
	unsynced []*request // written, and wanted on disk
	dirty    bool       // something is written and not yet synced
	newest   Head       // the last entry written
	gaps     int        // how many gaps this process has found

	fileMu  sync.Mutex // held while syncing and while exchanging file
	syncErr error      // of a file that was exchanged; the syncer tells the callers
	forced  int64      // of file, up to where it is on disk
	doubt   stretch    // what a sync has failed for

	// Only the writer touches what follows; file it exchanges under fileMu.
	file    *os.File
	info    os.FileInfo // of file, to know it again
	name    string      // of file
	size    int64       // of file, after the last entry
	head    Head        // the entry the next one follows
	last    Head        // the last entry this process has written or seen: its own kept head
	dir     os.FileInfo // the directory, since the lock was taken
	listing listing
	owed    []remark // what the log has to say about itself and could not write yet
	buf     []byte
	spare   []*request // room for what waits next
	told    []*request // of the last group
}

// remark is an entry that the log makes about itself.
type remark struct {
	action  string
	details map[string]any
}

func startChain(l *Log, category Category) *chain {
	c := &chain{
		log: l, category: category,
		lock:     newLockFile(lockPath(l.cfg.Dir, category)),
		wake:     make(chan struct{}, 1),
		syncNow:  make(chan struct{}, 1),
		syncSoon: make(chan struct{}, 1),
		written:  make(chan struct{}),
		synced:   make(chan struct{}),
	}
	c.keepers = c.startKeepers()
	go c.runWriter()
	go c.runSyncer()
	return c
}

func (c *chain) startKeepers() []*keeper {
	cfg := c.log.cfg
	own := dirHeads{cfg.Dir}
	guard := func(save func() error) error { return own.exclusive(c.category, save) }
	keepers := []*keeper{(&keeper{category: c.category, store: own, exclusive: guard, log: cfg.Logger}).start()}
	if cfg.Heads != nil {
		keepers = append(keepers, (&keeper{category: c.category, store: cfg.Heads, claim: c.claim, log: cfg.Logger}).start())
	}
	return keepers
}

// signal wakes the goroutine that waits on ch, or lets it go round once more.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (c *chain) enqueue(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.waiting = append(c.waiting, r)
	signal(c.wake)
	return nil
}

// claim is a head that the store says was on disk. The writer looks for it in the log, then closes checked.
type claim struct {
	head    Head
	checked chan struct{}
}

func (c *chain) claim(h Head) <-chan struct{} {
	checked := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claims = append(c.claims, claim{h, checked})
	signal(c.wake)
	return checked
}

func (c *chain) close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	for _, k := range c.keepers {
		k.awaitCheck() // needs the writer
	}
	signal(c.wake)
	<-c.written
	<-c.synced
	for _, k := range c.keepers {
		k.stop()
	}
	if again {
		return nil
	}
	c.lock.drop()
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}

func (c *chain) runWriter() {
	defer close(c.written)
	for range c.wake {
		for c.writeSome() {
			runtime.Gosched() // those who are about to hand in an entry share the next group
		}
		c.mu.Lock()
		end := c.closed && len(c.waiting) == 0
		c.mu.Unlock()
		if end {
			return
		}
	}
}

// writeSome commits one group and reports whether there was one.
func (c *chain) writeSome() bool {
	group, claims := c.next()
	if len(group) == 0 && len(claims) == 0 {
		return false
	}
	gap, err := c.commit(group, claims)
	told, now := c.settle(group, claims, gap, err)
	c.answer(len(group), told, err)
	c.spare = group[:0]
	if now {
		signal(c.syncNow)
	} else {
		signal(c.syncSoon)
	}
	return err == nil || len(group) > 0
}

// next takes one group out of what waits.
func (c *chain) next() (group []*request, claims []claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	group = c.waiting
	if len(group) > maxGroup {
		group = group[:maxGroup:maxGroup]
		c.waiting = c.waiting[maxGroup:]
	} else {
		c.waiting = c.spare
	}
	c.spare = nil
	return group, c.claims
}

// settle notes what became of a group. It returns those who are to be told now, and whether somebody waits for the disk:
// who wants an entry on disk hears only of a failure yet, and else from the syncer, perhaps before this function ends.
func (c *chain) settle(group []*request, claims []claim, gap bool, err error) (told []*request, now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.newest, c.dirty = c.head, true
		if gap {
			c.gaps++
			c.log.cfg.Metrics.missed(c.category)
		}
		for _, k := range claims {
			close(k.checked)
		}
		c.claims = c.claims[len(claims):] // after a failure they are looked for with the next group
	}
	told = c.told[:0]
	for _, r := range group {
		if err == nil && r.durable {
			c.unsynced = append(c.unsynced, r)
		} else {
			told = append(told, r)
		}
	}
	c.told = told
	return told, len(c.unsynced) > 0
}

// answer tells callers how writing n entries went.
func (c *chain) answer(n int, told []*request, err error) {
	if err == nil {
		c.log.cfg.Metrics.wrote(c.category, n)
	} else {
		c.log.cfg.Metrics.failed(c.category, n)
		err = fmt.Errorf("audit: append to %s: %w", c.category, err)
		if n == 0 {
			c.log.cfg.Logger.Error("audit: kept head could not be checked", "category", c.category, "err", err)
		}
	}
	for _, r := range told {
		r.done <- err
	}
}

// commit writes a group under the file lock: all of it, or nothing.
func (c *chain) commit(group []*request, claims []claim) (gap bool, err error) {
	if err := c.acquire(); err != nil {
		return false, err
	}
	defer func() {
		if err := c.lock.release(); err != nil { // what was written is written
			c.log.cfg.Logger.Error("audit: the chain's lock could not be released", "category", c.category, "err", err)
		}
	}()
	missing, err := c.locate(claims)
	if err != nil {
		c.forget()
		return false, err
	}
	notes := c.owed
	if missing != nil {
		notes = append(notes[:len(notes):len(notes)], *missing)
	}
	if len(group)+len(notes) == 0 {
		return false, nil
	}
	if err := c.write(group, notes); err != nil {
		c.forget()
		return false, err
	}
	c.owed = nil
	return missing != nil, nil
}

// acquire takes the lock and looks at the directory. Somebody may have removed it, or put another in its place, and the
// lock with it: then what this process holds keeps nobody out.
func (c *chain) acquire() (err error) {
	for range 3 {
		if err = c.lock.take(); err == nil {
			if c.dir, err = os.Stat(c.log.cfg.Dir); err == nil && (c.listing.holds(c.dir) || c.lock.inPlace()) {
				return nil
			}
			c.lock.drop()
		}
		if errors.Is(err, os.ErrNotExist) {
			err = makeDirs(c.log.cfg.Dir)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the chain's lock is removed again and again")
}

// forget makes the next group look up the end of the chain on disk.
func (c *chain) forget() { c.info = nil }
