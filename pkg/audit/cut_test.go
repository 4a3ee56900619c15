package audit_test

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/audit"
)

// copyCut copies a cut of the log in dir and returns where the copy is.
func copyCut(t *testing.T, dir string) (to string) {
	t.Helper()
	cut, err := audit.Cut(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the log goes on; what was cut stays
	to = t.TempDir()
	for _, e := range cut {
		path := filepath.Join(to, filepath.FromSlash(e.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		data := e.Data
		if data == nil {
			data = readStart(t, filepath.Join(dir, filepath.FromSlash(e.Name)), e.Size)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func readStart(t *testing.T, path string, size int64) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		t.Fatal(err)
	}
	return data
}

// A cut is taken again and again while several logs append to the same folder and sign checkpoints, over the end of a day.
// Each copy verifies with the key, and holds what was acknowledged before the cut.
func TestCutWhileOthersAppend(t *testing.T) {
	s, key := newKey(t)
	dir, now := t.TempDir(), newClock("2026-01-31T23:59:00Z")
	var others sync.WaitGroup
	var taken [3]chan struct{} // each is closed when that many cuts have been taken, and those who append wait for it on their way
	for i := range taken {
		taken[i] = make(chan struct{})
	}
	for range 2 {
		l := open(t, audit.Config{Dir: dir, Now: now.Now})
		for n, c := range audit.Categories {
			others.Go(func() {
				for i := 0; t.Context().Err() == nil && i < 400; i++ {
					add := l.Append
					if i%2 == n%2 {
						add = l.Note
					}
					if err := add(t.Context(), c, event(i)); err != nil {
						t.Error(err)
					}
					if i == 200 {
						now.set("2026-02-01T00:00:30Z")
					}
					if i%100 == 99 && i/100 < len(taken) {
						<-taken[i/100]
					}
				}
			})
		}
		others.Go(func() {
			for range 60 {
				if _, err := l.Checkpoint(t.Context(), s, audit.Stop); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { others.Wait(); close(done) }()
	for cuts := 0; ; cuts++ {
		select {
		case <-done:
			wantWholeCopy(t, copyCut(t, dir), key, 2*400)
			if cuts < len(taken) {
				t.Errorf("only %d cuts were taken meanwhile", cuts)
			}
			return
		default:
			wantWholeCopy(t, copyCut(t, dir), key, 0)
			if cuts < len(taken) {
				close(taken[cuts])
			}
		}
	}
}

// wantWholeCopy verifies a copy, each chain of which must have so many entries at least.
func wantWholeCopy(t *testing.T, dir string, key note.Verifier, entries int) {
	t.Helper()
	var keys []note.Verifier
	if _, err := os.Stat(filepath.Join(dir, "checkpoints")); err == nil { // before the first one nothing is vouched for
		keys = append(keys, key)
	}
	r := inspect(t, dir, keys...)
	if !r.OK() {
		t.Errorf("the copy: %+v", r.Findings)
	}
	for _, n := range r.Notes {
		t.Logf("note: %s", n)
	}
	if entries > 0 && len(r.Chains) != len(audit.Categories) {
		t.Errorf("%d chains", len(r.Chains))
	}
	for _, c := range r.Chains {
		if c.Entries < uint64(entries) {
			t.Errorf("%s has %d entries only", c.Category, c.Entries)
		}
	}
}

// What a crash has torn is left out of a cut, and so is the empty file of a day that has just begun.
func TestCutLeavesOutWhatIsTorn(t *testing.T) {
	s, key := newKey(t)
	dir, now := t.TempDir(), newClock("2026-01-31T23:59:00Z")
	l := open(t, audit.Config{Dir: dir, Now: now.Now})
	appendN(t, l, 3)
	sign(t, l, s, audit.Stop)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "access-2026-01-31.log")
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"v":1,"seq":4,`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "access-2026-02-01.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	to := copyCut(t, dir)
	r := inspect(t, to, key)
	if !r.OK() || len(r.Notes) > 0 {
		t.Errorf("findings %+v, notes %+v", r.Findings, r.Notes)
	}
}

func TestCutOfNoLog(t *testing.T) {
	cut, err := audit.Cut(t.Context(), filepath.Join(t.TempDir(), "none"))
	if err != nil || len(cut) > 0 {
		t.Errorf("%v, %v", cut, err)
	}
}
