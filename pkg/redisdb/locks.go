package redisdb

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bsm/redislock"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/tus/tusd/v2/pkg/handler"

	"pulsevault/pkg/vault"
)

const (
	defaultLeaseTTL = 6 * time.Second
	defaultPatience = 20 * time.Second // of Hold under a context without a deadline
	firstWait       = 40 * time.Millisecond
	longestWait     = 150 * time.Millisecond
)

// UploadLocks lets one writer at a time into an upload, among all processes. It is tusd's Locker.
//
// A lock is two: a lease in Redis, which every machine sees, and the lock of the file {Dir}/{id}.lock. A writer holds
// both. The file alone keeps two writers apart when Redis has been wiped, and the kernel frees it with its process; the
// lease of a dead process runs out after TTL. A holder whose lease is gone takes it again if nobody else has; if Redis
// is away it carries on, because nobody can get past the file. Whoever waits asks the holder over pub/sub to let go, so
// that a client that lost its connection gets in at once and not when the dead connection times out.
type UploadLocks struct {
	Client *redis.Client
	Dir    string        // where the uploads are
	TTL    time.Duration // of the lease, renewed three times within it; 0 means 6 s
	Logger *slog.Logger

	mu   sync.Mutex
	held map[string]*uploadLock
	sub  *redis.PubSub
	done chan struct{}
}

// Start begins to listen for those who want a lock that this process holds. The subscription comes back by itself after
// Redis was away.
func (l *UploadLocks) Start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sub != nil {
		return
	}
	l.sub = l.Client.PSubscribe(ctx, ReleaseChannel("*"))
	l.done = make(chan struct{})
	go l.listen(l.sub.Channel(), l.done)
}

// Close ends the subscription. Locks that are held stay held until they are unlocked.
func (l *UploadLocks) Close() error {
	l.mu.Lock()
	sub, done := l.sub, l.done
	l.sub = nil
	l.mu.Unlock()
	if sub == nil {
		return nil
	}
	err := sub.Close()
	<-done
	return err
}

func (l *UploadLocks) listen(requests <-chan *redis.Message, done chan<- struct{}) {
	defer close(done)
	for m := range requests {
		l.deliver(strings.TrimPrefix(m.Channel, releaseChannelPrefix), m.Payload)
	}
}

// anyBut begins a release request that is meant for whoever holds the lock, but not for who sends it and may hold it by then.
const anyBut = "not "

// deliver passes a release request on, if the lock's holder is whom it is meant for: the one with a token, or anybody but that.
func (l *UploadLocks) deliver(id, whom string) {
	l.mu.Lock()
	lock := l.held[id]
	l.mu.Unlock()
	if lock == nil {
		return
	}
	if sender, anybody := strings.CutPrefix(whom, anyBut); anybody && sender != lock.token || whom == lock.token {
		go lock.ask()
	}
}

// requestRelease asks the holder of the lock of an upload to let go, by the token of its lease: a request that arrives late
// must not interrupt the next holder, which may be who sent it. Without a lease in Redis, which was wiped, whoever holds the
// file is asked.
func (l *UploadLocks) requestRelease(ctx context.Context, id, sender string) {
	l.deliver(id, anyBut+sender) // does not depend on a subscription that may just be reconnecting
	ctx, cancel := aside(ctx)
	defer cancel()
	whom, err := l.Client.Get(ctx, UploadLockKey(id)).Result()
	if errors.Is(err, redis.Nil) {
		whom, err = anyBut+sender, nil
	}
	if err == nil {
		err = l.Client.Publish(ctx, ReleaseChannel(id), whom).Err()
	}
	if err != nil {
		l.Logger.DebugContext(ctx, "release request was not sent", "uploadId", id, "err", err)
	}
}

// NewLock returns the lock of an upload, not yet locked, as tusd asks for it.
func (l *UploadLocks) NewLock(id string) (handler.Lock, error) {
	lock, ok := l.newLock(id)
	if !ok {
		return nil, handler.ErrNotFound
	}
	return lock, nil
}

// Hold takes the lock of an upload, asking its holder to let go, and does not let go itself before release is called.
// It waits as long as ctx allows, 20 s if that sets no deadline; then the error's code is "upload_locked".
func (l *UploadLocks) Hold(ctx context.Context, id vault.UploadID) (release func(), err error) {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultPatience)
		defer cancel()
	}
	lock, ok := l.newLock(string(id))
	if !ok {
		return nil, vault.Errorf(vault.Invalid, "invalid_upload_id", "uploadId is not the id of an upload")
	}
	if err := lock.acquire(ctx, func() {}); err != nil {
		return nil, vaultError(err)
	}
	return func() { _ = lock.Unlock() }, nil
}

func (l *UploadLocks) newLock(id string) (*uploadLock, bool) {
	if id == "" || strings.HasPrefix(id, ".") || strings.ContainsAny(id, `/\`) || !filepath.IsLocal(id) {
		return nil, false
	}
	return &uploadLock{locks: l, id: id, token: uuid.NewString()}, true
}

func (l *UploadLocks) leaseTTL() time.Duration {
	if l.TTL > 0 {
		return l.TTL
	}
	return defaultLeaseTTL
}

func (l *UploadLocks) obtain(ctx context.Context, id, token string) (*redislock.Lock, error) {
	// A lease must not be left to itself because the client went away while it was being taken: so no cancellation,
	// only a time limit. The script takes a lease that already bears our token for ours.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	return redislock.New(l.Client).Obtain(ctx, UploadLockKey(id), l.leaseTTL(), &redislock.Options{Token: token})
}

func (l *UploadLocks) giveBack(lease *redislock.Lock) {
	ctx, cancel := aside(context.Background())
	defer cancel()
	if err := lease.Release(ctx); err != nil {
		l.Logger.Debug("the lease of an upload was not given back; it runs out by itself", "key", lease.Key(), "err", err)
	}
}

func (l *UploadLocks) noteHeld(lock *uploadLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = make(map[string]*uploadLock)
	}
	l.held[lock.id] = lock
}

// forgetHeld reports whether the lock was held.
func (l *UploadLocks) forgetHeld(lock *uploadLock) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[lock.id] != lock {
		return false
	}
	delete(l.held, lock.id)
	return true
}
