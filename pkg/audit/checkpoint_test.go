package audit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/audit"
)

// newKey makes a key of checkpoints.
func newKey(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, "audit")
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

func sign(t testing.TB, l audit.Signable, s note.Signer, o audit.Occasion) (made bool) {
	t.Helper()
	made, err := l.Checkpoint(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func inspect(t testing.TB, dir string, keys ...note.Verifier) audit.Report {
	t.Helper()
	r, err := audit.Inspection{Keys: keys}.Dir(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func checkpointFile(number int) string { return fmt.Sprintf("checkpoints/%08d.note", number) }

func TestCheckpoints(t *testing.T) {
	s, key := newKey(t)
	dir, now := t.TempDir(), newClock("2026-01-31T23:58:00Z")
	l := open(t, audit.Config{Dir: dir, Now: now.Now})
	if sign(t, l, s, audit.EveryMinute) {
		t.Error("a checkpoint of nothing")
	}
	step := func(at string, entries int, o audit.Occasion, want bool) {
		t.Helper()
		now.set(at)
		appendN(t, l, entries)
		if made := sign(t, l, s, o); made != want {
			t.Errorf("%s, %d entries, %s: made %v", at, entries, o, made)
		}
	}
	step("2026-01-31T23:58:00Z", 3, audit.EveryMinute, true)
	step("2026-01-31T23:58:30Z", 1, audit.EveryMinute, false) // too soon
	step("2026-01-31T23:59:00Z", 0, audit.EveryMinute, true)
	step("2026-01-31T23:59:30Z", 1, audit.EveryMinute, false)
	step("2026-02-01T00:00:00Z", 0, audit.EveryMinute, true) // soon, and a day has ended
	step("2026-02-01T00:01:00Z", 0, audit.EveryMinute, false)
	step("2026-02-02T00:01:00Z", 0, audit.EveryMinute, false) // nothing but the names of checkpoints
	step("2026-02-02T00:01:01Z", 1, audit.Stop, true)
	step("2026-02-02T00:01:02Z", 1, audit.Stop, true) // however soon
	step("2026-02-02T00:01:03Z", 0, audit.Stop, false)
	closeLog(t, l)
	r := inspect(t, dir, key)
	if !r.OK() || len(r.Notes) > 0 || r.Chains[0].Vouched != 7 || r.Chains[0].By != 5 {
		t.Errorf("%s", r)
	}
	var occasions []string
	for n := 1; n <= 5; n++ {
		c, err := audit.OpenCheckpoint(read(t, dir, checkpointFile(n)), []note.Verifier{key})
		if err != nil {
			t.Fatal(err)
		}
		occasions = append(occasions, string(c.Occasion))
	}
	if got := strings.Join(occasions, " "); got != "minute minute midnight stop stop" {
		t.Errorf("occasions %s", got)
	}
	want := fmt.Sprintf("pulsevault audit checkpoint v1\nnumber 1\ntime 2026-01-31T23:58:00.000000Z\noccasion minute\nprevious %064d\naccess 3 ", 0)
	if got := string(read(t, dir, checkpointFile(1))); !strings.HasPrefix(got, want) || !strings.Contains(got, "\n\n— audit ") {
		t.Errorf("%s", got)
	}
}

// A signature alone is no form: what is between the lines of a checkpoint is not accepted either.
func TestOpenCheckpointRefuses(t *testing.T) {
	s, key := newKey(t)
	stranger, _ := newKey(t)
	good := fmt.Sprintf("pulsevault audit checkpoint v1\nnumber 1\ntime 2026-01-31T23:58:00.000000Z\noccasion stop\nprevious %064d\naccess 3 %064d access-2026-01-31.log 9\n", 0, 1)
	signed := func(text string, s note.Signer) []byte {
		data, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if _, err := audit.OpenCheckpoint(signed(good, s), []note.Verifier{key}); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.OpenCheckpoint(signed(good, stranger), []note.Verifier{key}); err == nil {
		t.Error("signed by a stranger")
	}
	for old, with := range map[string]string{
		"v1": "v2", "number 1": "number 01", "number": "nr", "number 1\n": "number 0\n", "Z\n": "\n", " stop": "  stop", "previous 0": "previous g", "access": "acces",
		" 3 ": " +3 ", " 9\n": " 9 \n", "9\n": "9\n\n", "9": "-9", "01-31.log": "02-31.log", "occasion stop\n": "", "previous": "\nprevious",
	} {
		text := strings.Replace(good, old, with, 1)
		if _, err := audit.OpenCheckpoint(signed(text, s), []note.Verifier{key}); err == nil {
			t.Errorf("%q for %q is accepted", with, old)
		}
	}
}

// Of several processes one makes each checkpoint, in a directory and in a bucket.
func TestCheckpointsByMany(t *testing.T) {
	s, key := newKey(t)
	dir, bucket := t.TempDir(), newBucket(t)
	for name, kind := range map[string]struct {
		open   func() signableLog
		verify func() (audit.Report, error)
	}{
		"directory": {func() signableLog { return open(t, audit.Config{Dir: dir}) },
			func() (audit.Report, error) {
				return audit.Inspection{Keys: []note.Verifier{key}}.Dir(t.Context(), dir)
			}},
		"bucket": {func() signableLog { return openLedger(t, audit.LedgerConfig{Bucket: bucket}) },
			func() (audit.Report, error) {
				return audit.Inspection{Keys: []note.Verifier{key}}.Bucket(deadline(t), bucket)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			var logs []signableLog
			for range 4 {
				logs = append(logs, kind.open())
			}
			const rounds = 5
			total := 0
			for n := range rounds {
				if err := logs[n%4].Append(t.Context(), audit.Access, event(n)); err != nil {
					t.Fatal(err)
				}
				made := make(chan bool, len(logs))
				for _, l := range logs {
					go func() {
						ok, err := l.Checkpoint(t.Context(), s, audit.Stop)
						if err != nil {
							t.Error(err)
						}
						made <- ok
					}()
				}
				for range logs {
					if <-made {
						total++
					}
				}
			}
			for _, l := range logs {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
			r, err := kind.verify()
			if err != nil || !r.OK() || total != rounds {
				t.Errorf("%d made, want %d; %v\n%s", total, rounds, err, r)
			}
		})
	}
}

type signableLog interface {
	audit.Signable
	Append(ctx context.Context, c audit.Category, e audit.Event) error
	Close() error
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Whoever makes the next checkpoint names the one whose maker was killed before he could. Until then it is a note.
func TestCheckpointWithoutItsName(t *testing.T) {
	s, key := newKey(t)
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	appendN(t, l, 3)
	sign(t, l, s, audit.Stop)
	closeLog(t, l)
	remove(t, dir, "heads")
	cut(t, 1, adminFile(t, dir))
	if r := inspect(t, dir, key); !r.OK() || !strings.Contains(r.String(), "is named by no entry yet") {
		t.Errorf("%s", r)
	}
	for range 2 {
		l = open(t, audit.Config{Dir: dir})
		appendN(t, l, 1)
		sign(t, l, s, audit.Stop)
		closeLog(t, l)
	}
	r := inspect(t, dir, key)
	if !r.OK() || len(r.Notes) > 0 || bytes.Count(read(t, adminFile(t, dir)), []byte(audit.ActionCheckpoint)) != 3 {
		t.Errorf("%s\n%s", r, read(t, adminFile(t, dir)))
	}
}

func adminFile(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "admin-*.log"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no chain admin: %v", err)
	}
	return names[len(names)-1]
}

// A checkpoint that was changed stops no further ones, and is found for ever.
func TestCheckpointAfterAChangedOne(t *testing.T) {
	s, key := newKey(t)
	for _, with := range []string{"garbage", ""} {
		dir := t.TempDir()
		l := open(t, audit.Config{Dir: dir})
		appendN(t, l, 1)
		sign(t, l, s, audit.Stop)
		write(t, []byte(with), dir, checkpointFile(1))
		appendN(t, l, 1)
		if !sign(t, l, s, audit.Stop) {
			t.Error("no checkpoint after one that was changed")
		}
		closeLog(t, l)
		wantFinding(t, inspect(t, dir, key), checkpointFile(1)+": was changed or forged")
		wantFinding(t, inspect(t, dir, key), checkpointFile(1)+": is not the one")
	}
}

// Every log that has entries has checkpoints for those who hold a key.
func TestNoCheckpoints(t *testing.T) {
	_, key := newKey(t)
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	appendN(t, l, 1)
	closeLog(t, l)
	wantFinding(t, inspect(t, dir, key), "there is no checkpoint")
	wantWhole(t, dir, 1)
}

// While processes append and make checkpoints, an inspection never sees anything wrong.
func TestInspectBesideCheckpoints(t *testing.T) {
	s, key := newKey(t)
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	appendN(t, l, 1)
	sign(t, l, s, audit.Stop)
	var wg sync.WaitGroup
	var made atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		for n := 0; ctx.Err() == nil && n < 20_000; n++ {
			if err := l.Note(context.Background(), audit.Access, event(n)); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := l.Checkpoint(context.Background(), s, audit.Stop); err != nil {
				t.Error(err)
			}
			made.Add(1)
		}
	})
	for n := 0; n < 30 || made.Load() < 3; n++ {
		if r := inspect(t, dir, key); !r.OK() {
			t.Fatalf("%s", r)
		}
	}
	cancel()
	wg.Wait()
	closeLog(t, l)
	listing, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	if r := inspect(t, dir, key); !r.OK() || err != nil || len(listing) < 3 {
		t.Errorf("%d checkpoints, %v\n%s", len(listing), err, r)
	}
}
