package redisdb

import (
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The lock file is unlinked by each holder, so another may lock one that is no longer there. The window is too narrow to
// be met through Redis: hence a test from within.
func TestUnlinkedLockFilesLetNoTwoIn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.lock")
	var inside, turns atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range 8 {
		wg.Go(func() {
			for took := time.Duration(0); took < time.Second || turns.Load() < 100 && took < time.Minute; took = time.Since(began) {
				f, ok, err := lockFile(path)
				if err != nil {
					t.Error(err)
					return
				}
				if !ok {
					continue
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d at once", n)
				}
				turns.Add(1)
				inside.Add(-1)
				if err := unlockFile(f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if turns.Load() < 100 {
		t.Errorf("only %d turns", turns.Load())
	}
}
