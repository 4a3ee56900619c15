package redisdb_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

const childEnv = "PULSEVAULT_LOCK_CHILD"

// TestMain turns into a process that holds a lock when it is started by a test.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		holdAsChild(os.Args[1], os.Args[2], os.Args[3], os.Getenv(childEnv) == "polite")
		return
	}
	os.Exit(m.Run())
}

func holdAsChild(addr, dir, id string, polite bool) {
	locks := &redisdb.UploadLocks{Client: redisdb.Open(redisdb.Options{Addr: addr}), Dir: dir, TTL: testTTL, Logger: slog.Default()}
	locks.Start(context.Background())
	lock, err := locks.NewLock(id)
	if err != nil {
		panic(err)
	}
	asked := make(chan struct{})
	if err := lock.Lock(context.Background(), func() { close(asked) }); err != nil {
		panic(err)
	}
	fmt.Println("held")
	if polite {
		<-asked
		_ = lock.Unlock()
	}
	select {}
}

// startHolder starts another process and returns once it holds the lock.
func startHolder(t *testing.T, o redisdb.Options, dir, id, manners string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], o.Addr, dir, id)
	cmd.Env = append(os.Environ(), childEnv+"="+manners)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return kill
}

const testTTL = 2 * time.Second

func newLocks(t *testing.T, o redisdb.Options, dir string) *redisdb.UploadLocks {
	t.Helper()
	l := &redisdb.UploadLocks{Client: redistest.Client(t, o), Dir: dir, TTL: testTTL, Logger: redistest.Logger(t)}
	l.Start(t.Context())
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func newLock(t *testing.T, l *redisdb.UploadLocks, id string) handler.Lock {
	t.Helper()
	lock, err := l.NewLock(id)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// patience is how long a test waits for what must happen; nothing here is measured by it.
const patience = time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestOneWriterAtATime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		dir := t.TempDir()
		instances := []*redisdb.UploadLocks{newLocks(t, o, dir), newLocks(t, o, dir)}
		id := string(vault.NewUploadID())
		var inside, turns atomic.Int32
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				lock := newLock(t, instances[i%2], id)
				if err := lock.Lock(within(t, 20*time.Second), func() {}); err != nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d writers at once", n)
				}
				turns.Add(1)
				time.Sleep(2 * time.Millisecond)
				inside.Add(-1)
				if err := lock.Unlock(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if turns.Load() != 24 {
			t.Errorf("%d of 24 got in", turns.Load())
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestOneWriterAtATimeWhileRedisIsWiped(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		dir, id := t.TempDir(), vault.NewUploadID()
		instances := []*redisdb.UploadLocks{newLocks(t, o, dir), newLocks(t, o, dir)}
		var inside atomic.Int32
		var writers, wiper sync.WaitGroup
		for i := range 8 {
			writers.Go(func() {
				for range 25 {
					release, err := instances[i%2].Hold(within(t, 20*time.Second), id)
					if err != nil {
						t.Errorf("writer %d: %v", i, err)
						return
					}
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d writers at once", n)
					}
					time.Sleep(time.Millisecond)
					inside.Add(-1)
					release()
				}
			})
		}
		done := make(chan struct{})
		wiper.Go(func() {
			for {
				select {
				case <-done:
					return
				case <-time.After(500 * time.Microsecond):
					instances[0].Client.FlushAll(context.Background())
				}
			}
		})
		writers.Wait()
		close(done)
		wiper.Wait()
	})
}

func TestHolderIsNotAskedByALateRequest(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		locks := newLocks(t, o, t.TempDir())
		id := string(vault.NewUploadID())
		lock := newLock(t, locks, id)
		asked := make(chan struct{})
		if err := lock.Lock(t.Context(), func() { close(asked) }); err != nil {
			t.Fatal(err)
		}
		own := locks.Client.Get(t.Context(), redisdb.UploadLockKey(id)).Val()
		locks.Client.Publish(t.Context(), redisdb.ReleaseChannel(id), "the holder before")
		locks.Client.Publish(t.Context(), redisdb.ReleaseChannel(id), "not "+own) // as it may have sent itself, when there was no lease
		select {
		case <-asked:
			t.Error("it was asked by a request for the holder before, or by its own")
		case <-time.After(200 * time.Millisecond):
		}
		locks.Client.Publish(t.Context(), redisdb.ReleaseChannel(id), own)
		select {
		case <-asked:
		case <-time.After(patience):
			t.Error("nor was it by its own")
		}
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	})
}

func TestHolderIsAskedToLetGo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		dir := t.TempDir()
		a, b := newLocks(t, o, dir), newLocks(t, o, dir)
		for name, waiterSide := range map[string]*redisdb.UploadLocks{"in the same process": a, "in another": b} {
			id := string(vault.NewUploadID())
			held, waiting := newLock(t, a, id), newLock(t, waiterSide, id)
			var asked atomic.Int32
			if err := held.Lock(t.Context(), func() { asked.Add(1); _ = held.Unlock() }); err != nil {
				t.Fatal(err)
			}
			var interrupted atomic.Bool
			if err := waiting.Lock(within(t, patience), func() { interrupted.Store(true) }); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			time.Sleep(50 * time.Millisecond)
			if asked.Load() != 1 || interrupted.Load() {
				t.Errorf("%s: the holder was asked %d times, the waiter by its own request: %v", name, asked.Load(), interrupted.Load())
			}
			if err := waiting.Unlock(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAnotherProcessIsAskedToLetGo(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		dir, id := t.TempDir(), vault.NewUploadID()
		startHolder(t, o, dir, string(id), "polite")
		release, err := newLocks(t, o, dir).Hold(within(t, patience), id)
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}

func TestLockOfADeadProcessIsFreeWithinTheTTL(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		dir, id := t.TempDir(), vault.NewUploadID()
		kill := startHolder(t, o, dir, string(id), "rude")
		locks := newLocks(t, o, dir)
		if _, err := locks.Hold(within(t, 300*time.Millisecond), id); vault.KindOf(err) != vault.Conflict {
			t.Fatalf("while it lives: %v", err)
		}
		kill()
		if left := locks.Client.PTTL(t.Context(), redisdb.UploadLockKey(string(id))).Val(); left > testTTL {
			t.Errorf("the lease of the dead process runs on for %v", left)
		}
		release, err := locks.Hold(within(t, patience), id)
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}

func TestWipedRedisLetsNoSecondWriterIn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		dir, id := t.TempDir(), vault.NewUploadID()
		startHolder(t, o, dir, string(id), "rude")
		locks := newLocks(t, o, dir)
		for range 20 {
			locks.Client.FlushAll(t.Context())
			if release, err := locks.Hold(within(t, 30*time.Millisecond), id); err == nil {
				release()
				t.Fatal("two writers at once")
			}
		}
	})
}

func TestHolderTakesAWipedLeaseAgain(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		locks := newLocks(t, o, t.TempDir())
		id := string(vault.NewUploadID())
		lock := newLock(t, locks, id)
		var asked atomic.Bool
		if err := lock.Lock(t.Context(), func() { asked.Store(true) }); err != nil {
			t.Fatal(err)
		}
		mine := locks.Client.Get(t.Context(), redisdb.UploadLockKey(id)).Val()
		locks.Client.FlushAll(t.Context())
		eventually(t, "the lease is taken again", func() bool {
			return locks.Client.Get(t.Context(), redisdb.UploadLockKey(id)).Val() == mine
		})
		if asked.Load() {
			t.Error("the holder was asked to let go")
		}
		locks.Client.Set(t.Context(), redisdb.UploadLockKey(id), "another's", 0)
		eventually(t, "another has the lease, and the holder is asked to let go", asked.Load)
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
		if locks.Client.Get(t.Context(), redisdb.UploadLockKey(id)).Val() != "another's" {
			t.Error("another's lease was given back")
		}
	})
}

func TestSubscriptionComesBackAfterRedisWasAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	dir := t.TempDir()
	a, b := newLocks(t, server.Options(), dir), newLocks(t, server.Options(), dir)
	id := string(vault.NewUploadID())
	held := newLock(t, a, id)
	if err := held.Lock(t.Context(), func() { _ = held.Unlock() }); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := newLock(t, b, id).Lock(t.Context(), func() {}); !hasStatus(err, http.StatusServiceUnavailable) {
		t.Errorf("while Redis is away: %v", err)
	}
	server.Restart()
	waiting := newLock(t, b, id)
	if err := waiting.Lock(within(t, patience), func() {}); err != nil {
		t.Fatal(err)
	}
	_ = waiting.Unlock()
}

func hasStatus(err error, status int) bool {
	var e handler.Error
	return errors.As(err, &e) && e.HTTPResponse.StatusCode == status
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		locks := newLocks(t, o, t.TempDir())
		id := vault.NewUploadID()
		release, err := locks.Hold(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		err = newLock(t, locks, string(id)).Lock(within(t, 200*time.Millisecond), func() {})
		if !errors.Is(err, handler.ErrFileLocked) {
			t.Error(err)
		}
		_, err = locks.Hold(within(t, 100*time.Millisecond), id)
		var e *vault.Error
		if !errors.As(err, &e) || e.Kind != vault.Conflict || e.Code != "upload_locked" {
			t.Errorf("hold: %v", err)
		}
	})
}

func TestWithoutRedisLocksAreUnavailable(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, addr := range map[string]string{"refuses": "127.0.0.1:1", "hangs": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			locks := &redisdb.UploadLocks{Client: redistest.Client(t, redisdb.Options{Addr: addr}), Dir: dir, Logger: redistest.Logger(t)}
			id := vault.NewUploadID()
			err := newLock(t, locks, string(id)).Lock(t.Context(), func() {})
			var e handler.Error
			if !errors.As(err, &e) || e.HTTPResponse.StatusCode != http.StatusServiceUnavailable || e.HTTPResponse.Header["Retry-After"] == "" {
				t.Errorf("the answer is %+v", err)
			}
			if _, err := locks.Hold(t.Context(), id); vault.KindOf(err) != vault.Unavailable {
				t.Errorf("hold: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestALeftOverLockFileIsHarmless(t *testing.T) {
	locks := newLocks(t, redisdb.Options{Addr: redistest.Mini(t).Addr()}, t.TempDir())
	id := vault.NewUploadID()
	if err := os.WriteFile(filepath.Join(locks.Dir, string(id)+".lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := locks.Hold(within(t, patience), id)
	if err != nil {
		t.Fatal(err)
	}
	release()
	release()
}

func TestIdsThatAreNoFileNamesAreRefused(t *testing.T) {
	locks := &redisdb.UploadLocks{Dir: t.TempDir()}
	for _, id := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/etc/passwd", ".hidden"} {
		if _, err := locks.NewLock(id); !errors.Is(err, handler.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
		if _, err := locks.Hold(t.Context(), vault.UploadID(id)); vault.KindOf(err) != vault.Invalid {
			t.Errorf("hold %q: %v", id, err)
		}
	}
}
