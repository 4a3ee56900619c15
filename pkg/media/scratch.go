package media

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gofrs/flock"
)

// scratch is a folder of this process's own in a folder that others use too. A process that is killed leaves its folder
// behind, and with it a lock that the system has given back: whoever comes next removes it.
type scratch struct {
	parent string

	mu   sync.Mutex
	path string
	lock *flock.Flock
}

const lockSuffix = ".lock"

// folder returns the folder, which is made when it is first asked for.
func (s *scratch) folder() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path != "" {
		return s.path, nil
	}
	if err := os.MkdirAll(s.parent, 0o700); err != nil {
		return "", err
	}
	s.removeOrphans()
	for {
		f, err := os.CreateTemp(s.parent, "process-*"+lockSuffix)
		if err != nil {
			return "", err
		}
		_ = f.Close()
		lock := flock.New(f.Name())
		if ok, err := lock.TryLock(); err != nil {
			return "", err
		} else if !ok {
			continue // somebody has taken us for dead
		}
		if _, err := os.Stat(f.Name()); errors.Is(err, fs.ErrNotExist) {
			_ = lock.Close()
			continue
		}
		s.path, s.lock = strings.TrimSuffix(f.Name(), lockSuffix), lock
		return s.path, os.Mkdir(s.path, 0o700)
	}
}

// removeOrphans removes the folders of processes that have ended without it.
func (s *scratch) removeOrphans() {
	locks, _ := filepath.Glob(filepath.Join(s.parent, "process-*"+lockSuffix)) // the pattern is good
	for _, path := range locks {
		lock := flock.New(path)
		if ok, err := lock.TryLock(); err != nil || !ok {
			continue
		}
		if os.RemoveAll(strings.TrimSuffix(path, lockSuffix)) == nil {
			_ = os.Remove(path)
		}
		_ = lock.Close()
	}
}

// close removes the folder.
func (s *scratch) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return nil
	}
	err := errors.Join(os.RemoveAll(s.path), os.Remove(s.path+lockSuffix), s.lock.Close())
	s.path = ""
	return err
}
