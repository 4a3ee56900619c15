package upload

import (
	"context"
	"sync"

	"github.com/tus/tusd/v2/pkg/handler"
)

// patientLocker hands a request to let go of an upload to tusd once a piece is being written. tusd looks for the body to
// stop when it is asked, without a lock: asked before there is a body, it forgets, and a stuck client would keep the upload.
type patientLocker struct{ next handler.Locker }

func (l patientLocker) NewLock(id string) (handler.Lock, error) {
	lock, err := l.next.NewLock(id)
	return patientLock{lock}, err
}

type patientLock struct{ held handler.Lock }

func (l patientLock) Lock(ctx context.Context, requestUnlock func()) error {
	i := &exchangeOf(ctx).interrupt
	return l.held.Lock(ctx, func() { i.request(requestUnlock) })
}

func (l patientLock) Unlock() error { return l.held.Unlock() }

// interrupt is a request to let go, from whenever it comes until a piece is being written.
type interrupt struct {
	mu      sync.Mutex
	writing bool
	waiting func()
}

func (i *interrupt) request(letGo func()) {
	i.mu.Lock()
	if !i.writing {
		i.waiting = letGo
		letGo = nil
	}
	i.mu.Unlock()
	if letGo != nil {
		letGo()
	}
}

// begin says that a piece is being written from now on.
func (i *interrupt) begin() {
	i.mu.Lock()
	letGo := i.waiting
	i.writing, i.waiting = true, nil
	i.mu.Unlock()
	if letGo != nil {
		letGo()
	}
}
