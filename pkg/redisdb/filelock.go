package redisdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/gofrs/flock"
)

// lockFile takes the lock of the file at path if nobody has it. The kernel frees it when the process dies; a file that
// is left behind then is harmless.
func lockFile(path string) (*flock.Flock, bool, error) {
	for range 100 {
		f := flock.New(path, flock.SetPermissions(0o640))
		locked, err := f.TryLock()
		if err != nil || !locked {
			return nil, false, err
		}
		// The holder before us unlinks the file while it has the lock: what we locked may no longer be at path, and
		// the next one would lock another file.
		same, err := stillAt(f, path)
		if same {
			return f, true, nil
		}
		if err = errors.Join(err, f.Unlock()); err != nil {
			return nil, false, fmt.Errorf("check lock file: %w", err)
		}
	}
	return nil, false, nil
}

func stillAt(f *flock.Flock, path string) (bool, error) {
	ours, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, there), err
}

// unlockFile unlinks before it unlocks: once the lock is free, the file at the path may be another's.
func unlockFile(f *flock.Flock) error {
	if runtime.GOOS == "windows" { // which deletes no open file, neither ours now nor another's afterwards
		err := f.Unlock()
		_ = os.Remove(f.Path())
		return err
	}
	err := os.Remove(f.Path())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, f.Unlock())
}
