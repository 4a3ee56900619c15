package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/audit"
)

// open returns a Log on dir whose messages go to the test's log. Whatever the test closes itself may be closed twice.
func open(t testing.TB, cfg audit.Config) *audit.Log {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	l, err := audit.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}

func event(n int) audit.Event {
	return audit.Event{Action: "media.served", RequestID: fmt.Sprint("r", n), Address: "203.0.113.7:4711", Path: "hls/master.m3u8"}
}

func appendN(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(t.Context(), audit.Access, event(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func closeLog(t testing.TB, l *audit.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func verify(t testing.TB, dir string, heads audit.HeadStore) audit.Report {
	t.Helper()
	r, err := audit.Verify(t.Context(), dir, heads)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantWhole fails unless the log is whole and its access chain holds exactly n entries.
func wantWhole(t testing.TB, dir string, n int) audit.Report {
	t.Helper()
	r := verify(t, dir, nil)
	if !r.OK() {
		t.Fatalf("the log should be whole:\n%s", r)
	}
	if got := entries(r); got != n {
		t.Fatalf("%d entries, want %d\n%s", got, n, r)
	}
	return r
}

func entries(r audit.Report) int {
	n := uint64(0)
	for _, c := range r.Chains {
		n += c.Entries
	}
	return int(n)
}

// wantFinding fails unless a finding holds text in its place or reason.
func wantFinding(t testing.TB, r audit.Report, text string) {
	t.Helper()
	for _, f := range r.Findings {
		if strings.Contains(f.String(), text) {
			return
		}
	}
	t.Fatalf("no finding says %q:\n%s", text, r)
}

func wantNote(t testing.TB, r audit.Report, text string) {
	t.Helper()
	for _, f := range r.Notes {
		if strings.Contains(f.String(), text) {
			return
		}
	}
	t.Fatalf("no note says %q:\n%s", text, r)
}

// clock is a settable time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock(s string) *clock {
	c := &clock{}
	c.set(s)
	return c
}

func (c *clock) set(s string) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// store is a HeadStore in memory that fails on command.
type store struct {
	mu    sync.Mutex
	heads map[audit.Category]audit.Head
	down  bool
}

func (s *store) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *store) Load(_ context.Context, c audit.Category) (audit.Head, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return audit.Head{}, false, fmt.Errorf("the store is down")
	}
	h, ok := s.heads[c]
	return h, ok, nil
}

func (s *store) Save(_ context.Context, c audit.Category, h audit.Head) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return fmt.Errorf("the store is down")
	}
	if s.heads == nil {
		s.heads = map[audit.Category]audit.Head{}
	}
	s.heads[c] = h
	return nil
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, data []byte, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), data, 0o640); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, path ...string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(path...), 0o750); err != nil {
		t.Fatal(err)
	}
}

// remove moves it away first, for files may come into a directory while it is removed.
func remove(t testing.TB, path ...string) {
	t.Helper()
	away := filepath.Join(t.TempDir(), "removed")
	if err := os.Rename(filepath.Join(path...), away); err != nil {
		t.Fatal(err)
	}
	_ = os.RemoveAll(away) // or with the test
}

// cut takes the last n lines off a file.
func cut(t testing.TB, n int, path ...string) {
	t.Helper()
	lines := bytes.SplitAfter(read(t, path...), []byte("\n"))
	write(t, bytes.Join(lines[:len(lines)-1-n], nil), path...)
}

// logFile is the one day file of the access chain.
func logFile(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "access-*.log"))
	if err != nil || len(names) != 1 {
		t.Fatalf("day files: %v, %v", names, err)
	}
	return names[0]
}
