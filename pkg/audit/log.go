package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pulsevault/pkg/internal/durable"
)

// ErrClosed is what a closed Log answers.
var ErrClosed = errors.New("audit: the log is closed")

// Config says where a Log writes, and what it tells others.
type Config struct {
	Dir     string           // AUDIT_DIR; made if it is not there
	FullIP  bool             // keep addresses whole; false keeps three octets of IPv4, the /48 of IPv6
	Heads   HeadStore        // where heads are kept outside Dir; nil keeps them in Dir only
	Now     func() time.Time // the clock; nil is time.Now
	Logger  *slog.Logger     // nil logs nothing
	Metrics *Metrics         // nil counts nothing
}

// Log appends to the chains in a directory. Any number of Logs, in any number of processes, may share it, and any
// number of goroutines may use one.
type Log struct {
	*scribe
	cfg        Config
	chains     map[Category]*chain
	checkpoint atomic.Uint64 // the number of the newest one that this process knows of
}

// Open makes the directory where it is missing and returns a Log on it. It reads nothing yet: each chain's end is
// looked up when the first entry is appended.
func Open(cfg Config) (*Log, error) {
	if cfg.Dir == "" {
		return nil, errors.New("audit: no directory given")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := makeDirs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("audit: open: %w", err)
	}
	l := &Log{scribe: newScribe(cfg.FullIP), cfg: cfg, chains: map[Category]*chain{}}
	for _, category := range Categories {
		l.chains[category] = startChain(l, category)
	}
	return l, nil
}

// makeDirs makes the directories, and removes from them what crashes have left half-written, after a time in which nothing
// is still being written.
func makeDirs(dir string) error {
	for _, sub := range []string{headsDir, tornDir, checkpointsDir} {
		path := filepath.Join(dir, sub)
		if err := durable.Mkdir(path, durable.DirMode); err != nil {
			return err
		}
		if _, err := durable.RemoveTemp(path, time.Now().Add(-time.Hour)); err != nil {
			return err
		}
	}
	return nil
}

// Append records the event; when it returns nil, the entry is on disk. A cancelled ctx ends the waiting, not the
// writing: the entry may still be made.
func (l *Log) Append(ctx context.Context, category Category, event Event) error {
	return l.record(ctx, category, event, true)
}

// Note records the event; when it returns nil, the entry is with the operating system, where it survives the end of
// this process, and it is on disk within 100 ms. A cancelled ctx ends the waiting, not the writing.
func (l *Log) Note(ctx context.Context, category Category, event Event) error {
	return l.record(ctx, category, event, false)
}

// Close writes what is waiting, syncs everything and keeps the heads. Repeating it does nothing.
func (l *Log) Close() error {
	var errs []error
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, c := range l.chains {
		wg.Go(func() {
			err := c.close()
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *Log) record(ctx context.Context, category Category, event Event, durable bool) error {
	c, ok := l.chains[category]
	if !ok {
		return fmt.Errorf("audit: there is no category %q", category)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("audit: append to %s: %w", category, err)
	}
	r, err := l.prepare(&event)
	if err != nil {
		return fmt.Errorf("audit: append to %s: %w", category, err)
	}
	return l.add(ctx, c, r, durable)
}

func (l *Log) add(ctx context.Context, c *chain, r *request, durable bool) error {
	r.durable = durable
	if err := c.enqueue(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		l.recycle(r)
		return err
	case <-ctx.Done():
		return fmt.Errorf("audit: append to %s: waiting: %w", c.category, ctx.Err())
	}
}
