package audit_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/audit"
)

// Two Logs that have stopped looking closely at a directory that does not change notice what happens to it all the same:
// another day, begun by one of them, its lock removed, the whole of it moved away or removed. The chain never forks.
func TestSettledDirectoryChanges(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string, now *clock){
		"nothing":      func(*testing.T, string, *clock) {},
		"a day":        func(_ *testing.T, _ string, now *clock) { now.set("2026-01-02T00:00:00Z") },
		"lock removed": func(t *testing.T, dir string, _ *clock) { remove(t, dir, ".access.lock") },
		"moved away": func(t *testing.T, dir string, _ *clock) {
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
		},
		"removed": func(t *testing.T, dir string, _ *clock) { remove(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, now := filepath.Join(t.TempDir(), "audit"), newClock("2026-01-01T12:00:00Z")
			logs := []*audit.Log{open(t, audit.Config{Dir: dir, Now: now.Now}), open(t, audit.Config{Dir: dir, Now: now.Now})}
			appendN(t, logs[0], 5)
			appendN(t, logs[1], 5)
			old := time.Now().Add(-time.Minute)
			if err := os.Chtimes(dir, old, old); err != nil {
				t.Fatal(err)
			}
			appendN(t, logs[0], 5)
			appendN(t, logs[1], 5)
			harm(t, dir, now)
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for n := range 100 {
						if err := logs[i%2].Note(context.Background(), audit.Access, event(n)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			closeLog(t, logs[0])
			closeLog(t, logs[1])
			r := verify(t, dir, nil)
			if entries(r) < 800 || r.Chains[0].FirstBad != nil {
				t.Errorf("%s", r)
			}
			if gone := name == "moved away" || name == "removed"; gone == r.OK() {
				t.Errorf("the gap must show where there is one:\n%s", r)
			}
		})
	}
}
