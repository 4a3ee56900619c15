package redisdb

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
)

// The files of an embedded Redis, in the folder it serves.
const (
	addressFile = ".redis.json"
	keptFile    = ".redis-kept.json"
	lockName    = ".serve.lock"
)

const (
	clockStep        = 100 * time.Millisecond
	defaultSaveEvery = 2 * time.Second
	lockPatience     = time.Second // somebody may just be looking whether the lock is free
)

// EmbeddedConfig says where an embedded Redis belongs.
type EmbeddedConfig struct {
	Dir       string        // one embedded Redis serves it at a time; made if missing
	SaveEvery time.Duration // how often what is kept is saved if it changed; 0 means 2 s
	Logger    *slog.Logger
}

// Embedded is a Redis inside this process, for a single machine that has none. It keeps nothing but the three totals and
// the heads of the audit chains: what else was in it comes back from the media.
type Embedded struct {
	cfg    EmbeddedConfig
	lock   *flock.Flock
	server *miniredis.Miniredis
	opts   Options
	saved  map[string]string // by key, what keptFile holds
	stop   chan struct{}
	ticks  sync.WaitGroup
}

// address is the content of addressFile.
type address struct {
	Addr     string `json:"addr"`
	Password string `json:"password"`
	PID      int    `json:"pid"`
}

// StartEmbedded starts a Redis for a folder. A second one for the same folder is refused.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	if cfg.SaveEvery <= 0 {
		cfg.SaveEvery = defaultSaveEvery
	}
	if err := durable.Mkdir(cfg.Dir, durable.DirMode); err != nil {
		return nil, fmt.Errorf("redisdb: embedded Redis: %w", err)
	}
	lock, err := lockFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{cfg: cfg, lock: lock, server: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	if err := e.start(); err != nil {
		e.server.Close()
		return nil, errors.Join(fmt.Errorf("redisdb: start embedded Redis: %w", err), lock.Unlock())
	}
	return e, nil
}

func lockFolder(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))
	for end := time.Now().Add(lockPatience); ; time.Sleep(50 * time.Millisecond) {
		ok, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("redisdb: lock %s: %w", dir, err)
		}
		if ok {
			return lock, nil
		}
		if time.Now().After(end) {
			a, _ := readAddress(dir)
			return nil, fmt.Errorf("another pulsevault serve (process %d) is running on %s: stop it, give this one "+
				"another MEDIA_ROOT, or set REDIS_HOST so that both share one Redis", a.PID, dir)
		}
	}
}

// start restores what was kept before the address is known to anybody, so that nobody counts from 0.
func (e *Embedded) start() error {
	e.restore()
	e.opts.Password = rand.Text()
	e.server.RequireAuth(e.opts.Password)
	if err := e.server.StartAddr("127.0.0.1:0"); err != nil {
		return err
	}
	e.opts.Addr = e.server.Addr()
	data, err := json.Marshal(address{Addr: e.opts.Addr, Password: e.opts.Password, PID: os.Getpid()})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(e.cfg.Dir, addressFile), data, 0o600); err != nil {
		return err
	}
	e.ticks.Go(e.moveClock)
	e.ticks.Go(e.saveOften)
	return nil
}

// Options say how to reach it.
func (e *Embedded) Options() Options { return e.opts }

// Close saves what is kept and stops. The lock goes last, so that the next one finds it.
func (e *Embedded) Close() error {
	close(e.stop)
	e.ticks.Wait()
	e.server.Close()
	err := errors.Join(e.save(), durable.Remove(filepath.Join(e.cfg.Dir, addressFile)), e.lock.Unlock())
	if err != nil {
		return fmt.Errorf("redisdb: stop embedded Redis: %w", err)
	}
	return nil
}

// moveClock lets TTLs run out: miniredis's own stand still. Its ClockTTL would do it too, but walks through all keys at
// every single command.
func (e *Embedded) moveClock() {
	tick := time.NewTicker(clockStep)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		e.server.FastForward(now.Sub(last))
		last = now
	}
}

func (e *Embedded) saveOften() {
	tick := time.NewTicker(e.cfg.SaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		if err := e.save(); err != nil {
			e.cfg.Logger.Warn("totals and audit heads were not saved", "err", err)
		}
	}
}

// FindEmbedded returns how to reach the embedded Redis that serves a folder, also after it was started again.
func FindEmbedded(dir string) (Options, error) {
	a, err := readAddress(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !isServed(dir) {
		return Options{}, fmt.Errorf("no Redis is running for %s: start `pulsevault serve` on it first, or set REDIS_HOST", dir)
	}
	if err != nil {
		return Options{}, fmt.Errorf("redisdb: find embedded Redis of %s: %w", dir, err)
	}
	return Options{Addr: a.Addr, Password: a.Password, Dir: dir}, nil
}

func readAddress(dir string) (address, error) {
	var a address
	data, err := os.ReadFile(filepath.Join(dir, addressFile))
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	return a, err
}

// isServed tells an address that somebody answers at from one that a killed process left behind: the lock that its
// process held is free. It asks for a shared lock, so two who ask at once do not take each other for a server.
func isServed(dir string) bool {
	lock := flock.New(filepath.Join(dir, lockName), flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	_ = lock.Unlock()
	return err == nil && !free
}
