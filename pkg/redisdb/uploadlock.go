package redisdb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/bsm/redislock"
	"github.com/gofrs/flock"
	"github.com/tus/tusd/v2/pkg/handler"

	"pulsevault/pkg/vault"
)

// uploadLock is one wish to hold the lock of an upload, and the lock while it is held.
type uploadLock struct {
	locks *UploadLocks
	id    string
	token string // tells this wish from every other one

	ask     func() // asks the holder to let go, once
	lease   *redislock.Lock
	file    *flock.Flock
	stop    chan struct{}
	stopped chan struct{}
}

var (
	errLocked      = errors.New("the upload stayed locked")
	errUnavailable = errors.New("redis cannot be reached")
)

// Lock takes the lock, asking its holder to let go until ctx ends. requestUnlock is called when somebody else wants it.
func (l *uploadLock) Lock(ctx context.Context, requestUnlock func()) error {
	err := l.acquire(ctx, requestUnlock)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errLocked) {
		l.locks.Logger.WarnContext(ctx, "an upload could not be locked", "uploadId", l.id, "err", err)
	}
	return tusError(err)
}

func (l *uploadLock) acquire(ctx context.Context, requestUnlock func()) error {
	for wait := firstWait; ; wait = min(wait*5/4, longestWait) {
		if ctx.Err() != nil {
			return errLocked
		}
		ok, err := l.try(ctx)
		if err != nil {
			return err
		}
		if ok {
			break
		}
		l.locks.requestRelease(ctx, l.id, l.token)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	l.ask = sync.OnceFunc(requestUnlock)
	l.stop, l.stopped = make(chan struct{}), make(chan struct{})
	l.locks.noteHeld(l)
	go l.keepLease(l.locks.leaseTTL() / 3)
	return nil
}

// try takes the lease, then the file: waiters queue up at the lease, and the file says no only after Redis was wiped.
func (l *uploadLock) try(ctx context.Context) (bool, error) {
	lease, err := l.locks.obtain(ctx, l.id, l.token)
	if errors.Is(err, redislock.ErrNotObtained) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	file, ok, err := lockFile(filepath.Join(l.locks.Dir, l.id+".lock"))
	if err != nil || !ok {
		l.locks.giveBack(lease)
		return false, err
	}
	l.lease, l.file = lease, file
	return true, nil
}

// keepLease renews the lease until the lock is unlocked, or somebody else has the lease.
func (l *uploadLock) keepLease(every time.Duration) {
	defer close(l.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		_, err := l.locks.obtain(context.Background(), l.id, l.token)
		if errors.Is(err, redislock.ErrNotObtained) {
			l.locks.Logger.Warn("the lease of an upload is lost", "uploadId", l.id)
			go l.ask()
			return
		}
		if err != nil {
			l.locks.Logger.Warn("the lease of an upload could not be renewed", "uploadId", l.id, "err", err)
		}
	}
}

// Unlock lets the next one in. It does nothing if the lock is not held.
func (l *uploadLock) Unlock() error {
	if !l.locks.forgetHeld(l) {
		return nil
	}
	close(l.stop)
	<-l.stopped // a renewal on its way must not take the lease again after it is given back
	// The file first: whoever gets the lease then finds the file free.
	err := unlockFile(l.file)
	l.locks.giveBack(l.lease)
	if err != nil {
		return fmt.Errorf("redisdb: unlock upload: %w", err)
	}
	return nil
}

const tryAgain = "uploads cannot be locked at the moment; try again"

func tusError(err error) error {
	switch {
	case errors.Is(err, errLocked):
		return handler.ErrFileLocked
	case errors.Is(err, errUnavailable):
		e := handler.NewError("ERR_UNAVAILABLE", tryAgain, http.StatusServiceUnavailable)
		e.HTTPResponse.Header["Retry-After"] = "1"
		return e
	case errors.Is(err, syscall.ENOSPC):
		return handler.NewError("ERR_NO_SPACE", "the disk is full; try again later", http.StatusInsufficientStorage)
	default: // tusd shows the text of an error that is not its own to the client
		return handler.NewError("ERR_INTERNAL_SERVER_ERROR", "the upload could not be locked", http.StatusInternalServerError)
	}
}

func vaultError(err error) error {
	switch {
	case errors.Is(err, errLocked):
		return vault.Errorf(vault.Conflict, "upload_locked", "another request is writing to this upload; try again")
	case errors.Is(err, errUnavailable):
		return vault.Errorf(vault.Unavailable, "unavailable", tryAgain).Because(err)
	case errors.Is(err, syscall.ENOSPC):
		return vault.Errorf(vault.NoSpace, "no_space", "the disk is full; try again later").Because(err)
	default:
		return fmt.Errorf("redisdb: lock upload: %w", err)
	}
}
