package audit_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pulsevault/pkg/audit"
)

// documented is the line that the package comment shows.
func documented(t testing.TB) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^//\t(\{"v":1.*\})$`).FindStringSubmatch(string(read(t, "doc.go")))
	if found == nil {
		t.Fatal("the package comment shows no line")
	}
	return found[1]
}

// The package comment's example, checked with nothing but SHA-256 and string cutting.
func TestDocumentedLine(t *testing.T) {
	line := documented(t)
	before, after, _ := strings.Cut(line, `,"hash":"`)
	sum := sha256.Sum256([]byte(before + "}"))
	if want := hex.EncodeToString(sum[:]) + `"}`; after != want {
		t.Errorf("the documented hash is %s, by hand it is %s", after, want)
	}
	e, err := audit.ParseLine([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if e.Seq != 1 || e.Category != audit.Access || e.PrevHash != (audit.Hash{}) || e.Time.Year() != 2026 ||
		string(e.Event) != `{"action":"media.served","ip":"203.0.113.0"}` {
		t.Errorf("the documented line reads as %+v", e)
	}
}

func TestEntry(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	l := open(t, audit.Config{Dir: dir, Now: newClock("2026-02-01T10:00:00+02:00").Now})
	e := audit.Event{ID: "id-1", Action: "a", Address: "[2001:db8:1:2::3]:99", Path: "<&>\n\u2028\xff", Details: map[string]any{"b": 1, "a": "x y"}}
	if err := l.Append(t.Context(), audit.Upload, e); err != nil {
		t.Fatal(err)
	}
	line := string(read(t, dir, "upload-2026-02-01.log"))
	for _, want := range []string{`{"v":1,"seq":1,"eventId":"id-1","timestamp":"2026-02-01T08:00:00.000000Z","category":"upload","prevHash":"` + strings.Repeat("0", 64),
		`"ip":"2001:db8:1::"`, `"path":"<&>\n`, `"details":{"a":"x y","b":1}`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	if strings.Count(line, "\n") != 1 {
		t.Errorf("a newline within the line: %q", line)
	}
	for name, mode := range map[string]os.FileMode{"upload-2026-02-01.log": 0o640, "": 0o750, "heads": 0o750} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: mode %v, %v", name, info.Mode(), err)
		}
	}
	closeLog(t, l)
	wantWhole(t, dir, 1)
	var head struct {
		Seq  int
		Hash string
	}
	if err := json.Unmarshal(read(t, dir, "heads/upload.json"), &head); err != nil || head.Seq != 1 || !strings.Contains(line, head.Hash) {
		t.Errorf("kept head %+v, %v", head, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"no action":     l.Append(t.Context(), audit.Access, audit.Event{}),
		"own action":    l.Append(t.Context(), audit.Access, audit.Event{Action: audit.ActionGap}),
		"category":      l.Note(t.Context(), "../x", event(1)),
		"id with quote": l.Note(t.Context(), audit.Access, audit.Event{Action: "a", ID: `x"y`}),
		"too large":     l.Append(t.Context(), audit.Access, audit.Event{Action: "a", Path: strings.Repeat("x", audit.MaxLine)}),
		"not JSON":      l.Append(t.Context(), audit.Access, audit.Event{Action: "a", Details: map[string]any{"f": func() {}}}),
		"cancelled":     l.Append(cancelled, audit.Access, event(1)),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	closeLog(t, l)
	if err := l.Append(t.Context(), audit.Access, event(1)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	wantWhole(t, dir, 0)
	if _, err := audit.Open(audit.Config{}); err == nil {
		t.Error("opened without a directory")
	}
}

func TestNoteIsInTheFileAtOnceAndItsHeadKeptSoon(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	if err := l.Note(t.Context(), audit.Access, event(1)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(read(t, logFile(t, dir))), "\n"); n != 1 {
		t.Errorf("%d lines in the file after Note", n)
	}
	head := filepath.Join(dir, "heads", "access.json")
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(head); err == nil {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatal("no head was kept, so nothing was synced")
		}
	}
	wantWhole(t, dir, 1)
}

func TestDays(t *testing.T) {
	dir := t.TempDir()
	now := newClock("2026-03-01T23:59:59Z")
	l := open(t, audit.Config{Dir: dir, Now: now.Now})
	other := open(t, audit.Config{Dir: dir, Now: now.Now})
	for _, s := range []string{"2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z", "2026-02-27T12:00:00Z", "2026-03-02T12:00:00Z", "2026-03-05T01:00:00+02:00"} {
		now.set(s)
		appendN(t, l, 2)
		appendN(t, other, 1)
	}
	closeLog(t, l)
	closeLog(t, other)
	now.set("2026-01-01T00:00:00Z")
	late := open(t, audit.Config{Dir: dir, Now: now.Now})
	appendN(t, late, 1)
	closeLog(t, late)
	r := wantWhole(t, dir, 16)
	names, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	if len(names) != 3 || filepath.Base(names[2]) != "access-2026-03-04.log" || r.Chains[0].Files != 3 {
		t.Errorf("files %v, %d in the report", names, r.Chains[0].Files)
	}
}

// What a crash has left half-written in a folder of the log goes when the log is opened, after an hour.
func TestOpenRemovesLitter(t *testing.T) {
	dir := t.TempDir()
	appendN(t, open(t, audit.Config{Dir: dir}), 1)
	litter, fresh := filepath.Join(dir, "heads", ".tmp-access.json-1"), filepath.Join(dir, "heads", ".tmp-access.json-2")
	old := time.Now().Add(-2 * time.Hour)
	if err := errors.Join(os.WriteFile(litter, nil, 0o640), os.Chtimes(litter, old, old), os.WriteFile(fresh, nil, 0o640)); err != nil {
		t.Fatal(err)
	}
	open(t, audit.Config{Dir: dir})
	if _, err := os.Stat(litter); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half-written head is still there (%v)", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a head that is being written is gone: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	l := open(t, audit.Config{Dir: t.TempDir(), Metrics: audit.NewMetrics(reg)})
	appendN(t, l, 3)
	want := `
# HELP pulsevault_audit_entries_total Entries this process has written to the audit log.
# TYPE pulsevault_audit_entries_total counter
pulsevault_audit_entries_total{category="access"} 3
pulsevault_audit_entries_total{category="admin"} 0
pulsevault_audit_entries_total{category="auth"} 0
pulsevault_audit_entries_total{category="emergency"} 0
pulsevault_audit_entries_total{category="transcode"} 0
pulsevault_audit_entries_total{category="upload"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "pulsevault_audit_entries_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(reg, "pulsevault_audit_sync_duration_seconds"); n != 1 {
		t.Errorf("%d sync histograms", n)
	}
}

// Whoever takes the chain up and misses something that was there says so in its metrics too.
func TestGapsAreCounted(t *testing.T) {
	dir := threeDays(t, nil)
	cut(t, 2, dir, day3)
	reg := prometheus.NewPedanticRegistry()
	l := open(t, audit.Config{Dir: dir, Metrics: audit.NewMetrics(reg)})
	appendN(t, l, 2)
	want := `
# HELP pulsevault_audit_gaps_total How often this process found that the audit log no longer held what had been written to it.
# TYPE pulsevault_audit_gaps_total counter
pulsevault_audit_gaps_total{category="access"} 1
pulsevault_audit_gaps_total{category="admin"} 0
pulsevault_audit_gaps_total{category="auth"} 0
pulsevault_audit_gaps_total{category="emergency"} 0
pulsevault_audit_gaps_total{category="transcode"} 0
pulsevault_audit_gaps_total{category="upload"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "pulsevault_audit_gaps_total"); err != nil {
		t.Error(err)
	}
}

func TestAnonymise(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.77":           "203.0.113.0",
		"203.0.113.77:8080":      "203.0.113.0",
		" 203.0.113.77 ":         "203.0.113.0",
		"::ffff:203.0.113.77":    "203.0.113.0",
		"[::ffff:1.2.3.4]:5":     "1.2.3.0",
		"2001:db8:aa:bb::1":      "2001:db8:aa::",
		"[2001:db8:aa:bb::1]:80": "2001:db8:aa::",
		"[2001:db8:aa:bb::1]":    "2001:db8:aa::",
		"fe80::1%eth0":           "fe80::",
		"::1":                    "::",
		"":                       "", "unknown": "", "1.2.3": "", "1.2.3.4.5": "", "a:b": "", "1.2.3.4, 5.6.7.8": "",
	} {
		if got := audit.Anonymise(in); got != want {
			t.Errorf("Anonymise(%q) = %q, want %q", in, got, want)
		}
	}
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir, FullIP: true})
	appendN(t, l, 1)
	if line := string(read(t, logFile(t, dir))); !strings.Contains(line, `"ip":"203.0.113.7"`) {
		t.Errorf("FullIP does not keep the address: %s", line)
	}
}
