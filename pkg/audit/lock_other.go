//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package audit

import (
	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
)

// lockFile is the lock of a chain, on a file that is opened each time it is taken.
type lockFile struct{ lock *flock.Flock }

func newLockFile(path string) *lockFile {
	return &lockFile{flock.New(path, flock.SetPermissions(durable.FileMode))}
}

func (l *lockFile) take() error    { return l.lock.Lock() }
func (l *lockFile) release() error { return l.lock.Unlock() }
func (l *lockFile) inPlace() bool  { return true }
func (l *lockFile) drop()          { _ = l.lock.Unlock() } // which closes it in any case
