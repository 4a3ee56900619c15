//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package audit

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"pulsevault/pkg/internal/durable"
)

// lockFile is the lock of a chain, for one goroutine: the kernel's lock on a file that stays open in between, which costs
// one call to take and one to give back. The kernel gives it back when the process ends.
type lockFile struct {
	path string
	file *os.File
}

func newLockFile(path string) *lockFile { return &lockFile{path: path} }

// take waits until nobody else has the lock. It makes the file, but not its directory.
func (l *lockFile) take() error {
	if l.file == nil {
		f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDONLY, durable.FileMode)
		if err != nil {
			return err
		}
		l.file = f
	}
	err := l.flock(unix.LOCK_EX)
	if err != nil {
		l.drop() // the next one opens it anew
	}
	return err
}

func (l *lockFile) release() error { return l.flock(unix.LOCK_UN) }

func (l *lockFile) flock(how int) error {
	for {
		err := unix.Flock(int(l.file.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}

// inPlace reports whether the file that is locked is still the one that others find under its name.
func (l *lockFile) inPlace() bool {
	ours, err := l.file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(l.path)
	return err == nil && os.SameFile(ours, theirs)
}

// drop closes the file, and gives the lock back by that.
func (l *lockFile) drop() {
	if l.file != nil {
		_ = l.file.Close() // nothing was written to it
		l.file = nil
	}
}
