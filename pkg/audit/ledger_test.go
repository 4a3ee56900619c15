package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/audit/audittest"
	"pulsevault/pkg/vault"
)

// smallPart is the size of parts in tests.
const smallPart = 8 << 10

func newBucket(t testing.TB) *audittest.Bucket {
	b := audittest.NewBucket(t)
	b.PartSize = smallPart
	return b
}

func openLedger(t testing.TB, cfg audit.LedgerConfig) *audit.Ledger {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	if b, ok := cfg.Bucket.(*audittest.Bucket); ok {
		cfg = cfg.WithParts(b.PartSize)
	}
	l, err := audit.OpenLedger(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLedger(t, l) })
	return l
}

func closeLedger(t testing.TB, l *audit.Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func record(t testing.TB, l *audit.Ledger, events ...audit.Event) {
	t.Helper()
	for _, e := range events {
		if err := l.Append(t.Context(), audit.Access, e); err != nil {
			t.Fatal(err)
		}
	}
}

// named are n events with IDs.
func named(prefix string, n int) (events []audit.Event) {
	for i := range n {
		e := event(i)
		e.ID = fmt.Sprint(prefix, "-", i)
		events = append(events, e)
	}
	return events
}

// large is an event of which about n fill a part, and not quite.
func large(id string, n int) audit.Event {
	return audit.Event{ID: id, Action: "media.served", Path: strings.Repeat("x", (smallPart-2048)/n)}
}

func verifyBucket(t testing.TB, b *audittest.Bucket, heads audit.HeadReader) audit.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := audit.VerifyBucket(ctx, b, heads)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wantWholeBucket(t testing.TB, b *audittest.Bucket, n int) audit.Report {
	t.Helper()
	r := verifyBucket(t, b, nil)
	if !r.OK() || entries(r) != n {
		t.Fatalf("the log should be whole and have %d entries:\n%s", n, r)
	}
	return r
}

// wantEach fails unless each ID stands in the access chain exactly once.
func wantEach(t testing.TB, b *audittest.Bucket, ids ...string) {
	t.Helper()
	chain := b.Chain(audit.Access)
	for _, id := range ids {
		if n := bytes.Count(chain, []byte(`"eventId":"`+id+`"`)); n != 1 {
			t.Errorf("%s stands in the chain %d times", id, n)
		}
	}
}

// What a Ledger writes is byte for byte what a Log writes.
func TestALedgerWritesTheLinesOfALog(t *testing.T) {
	dir, b, now := t.TempDir(), newBucket(t), newClock("2026-03-01T12:00:00Z")
	log, ledger := open(t, audit.Config{Dir: dir, Now: now.Now}), openLedger(t, audit.LedgerConfig{Bucket: b, Now: now.Now})
	events := named("e", 20)
	events[3].Path, events[4].Address = "<&>\n\u2028\xff\uffff", "[2001:db8:1:2::3]:99"
	for _, e := range events {
		if err := errors.Join(log.Append(t.Context(), audit.Access, e), ledger.Note(t.Context(), audit.Access, e)); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, log)
	closeLedger(t, ledger)
	if got, want := b.Chain(audit.Access), read(t, logFile(t, dir)); !bytes.Equal(got, want) {
		t.Errorf("the ledger holds\n%s\nthe log\n%s", got, want)
	}
	r := wantWholeBucket(t, b, 20)
	if h := r.Chains[0].Head; h.File != "access.00000001.log" || len(r.Notes) > 0 {
		t.Errorf("head %+v\n%s", h, r)
	}
}

func TestALedgerRefuses(t *testing.T) {
	b := newBucket(t)
	l := openLedger(t, audit.LedgerConfig{Bucket: b})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"no action":  l.Append(t.Context(), audit.Access, audit.Event{}),
		"own action": l.Append(t.Context(), audit.Access, audit.Event{Action: audit.ActionGap}),
		"category":   l.Append(t.Context(), "../x", event(1)),
		"too large":  l.Append(t.Context(), audit.Access, audit.Event{Action: "a", Path: strings.Repeat("x", audit.MaxLine)}),
		"cancelled":  l.Append(cancelled, audit.Access, event(1)),
	} {
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	closeLedger(t, l)
	if err := l.Append(t.Context(), audit.Access, event(1)); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if n := b.Calls("write"); n > 0 {
		t.Errorf("%d writes", n)
	}
	if _, err := audit.OpenLedger(audit.LedgerConfig{}); err == nil {
		t.Error("opened without a bucket")
	}
}

// Several Ledgers on one bucket, many goroutines on each, and parts that are closed on the way.
func TestLedgersShareABucket(t *testing.T) {
	t.Parallel()
	b, heads, reg := newBucket(t), &store{}, prometheus.NewPedanticRegistry()
	metrics := audit.NewMetrics(reg)
	var callers sync.WaitGroup
	var ids []string
	for p := range 3 {
		l := openLedger(t, audit.LedgerConfig{Bucket: b, Heads: heads, Metrics: metrics})
		for g := range 8 {
			for i := range 10 {
				ids = append(ids, fmt.Sprintf("p%d-g%d-%d", p, g, i))
			}
			callers.Go(func() {
				for i := range 10 {
					if err := l.Append(t.Context(), audit.Access, large(fmt.Sprintf("p%d-g%d-%d", p, g, i), 60)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	callers.Wait()
	wantWholeBucket(t, b, len(ids))
	wantEach(t, b, ids...)
	if n := len(b.Parts(audit.Access)); n < 3 {
		t.Errorf("%d parts", n)
	}
	if n := b.Calls("write"); n > len(ids) {
		t.Errorf("%d writes of %d entries: callers should share them", n, len(ids))
	}
	want := fmt.Sprintf("# HELP pulsevault_audit_entries_total Entries this process has written to the audit log.\n"+
		"# TYPE pulsevault_audit_entries_total counter\npulsevault_audit_entries_total{category=\"access\"} %d\n", len(ids))
	for _, c := range []string{"admin", "auth", "emergency", "transcode", "upload"} {
		want += fmt.Sprintf("pulsevault_audit_entries_total{category=%q} 0\n", c)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "pulsevault_audit_entries_total"); err != nil {
		t.Error(err)
	}
}

// Whichever call of the bucket fails, and however: what was acknowledged is there once, what was not is there once after a
// repeat, and the chain does not fork.
func TestABucketThatFails(t *testing.T) {
	for _, op := range []string{"read", "write", "list"} {
		for _, how := range []audittest.How{audittest.NotDone, audittest.Done, audittest.Later, audittest.Refused} {
			if op != "write" && how != audittest.NotDone {
				continue
			}
			for _, times := range []int{1, 5} {
				for after := range 6 {
					t.Run(fmt.Sprintf("%s %s %d times after %d", op, how, times, after), func(t *testing.T) {
						t.Parallel()
						b := newBucket(t)
						b.Fail(audittest.Failure{Op: op, After: after, Times: times, How: how})
						var ids []string
						for range 2 {
							l := openLedger(t, audit.LedgerConfig{Bucket: b, Heads: &store{}})
							for _, n := range []int{1000, 1, 1000} {
								id := fmt.Sprint("e", len(ids))
								ids = append(ids, id)
								appendPatiently(t, l, large(id, n))
							}
							closeLedger(t, l)
						}
						b.Recover()
						wantWholeBucket(t, b, len(ids))
						wantEach(t, b, ids...)
					})
				}
			}
		}
	}
}

func appendPatiently(t *testing.T, l *audit.Ledger, e audit.Event) {
	t.Helper()
	var err error
	for range 3 {
		if err = l.Append(t.Context(), audit.Access, e); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// A function that is killed between part and head leaves a head that is old, and nothing else.
func TestKilledBeforeTheHeadIsKept(t *testing.T) {
	b, heads := newBucket(t), &store{}
	first := openLedger(t, audit.LedgerConfig{Bucket: b, Heads: heads})
	record(t, first, named("a", 3)...)
	closeLedger(t, first)
	heads.setDown(true)
	b.Fail(audittest.Failure{Op: "write", Key: "heads/", Times: -1, How: audittest.NotDone})
	killed := openLedger(t, audit.LedgerConfig{Bucket: b, Heads: heads})
	record(t, killed, named("b", 3)...)
	if err := killed.KeepHeads(t.Context()); err == nil {
		t.Error("the heads were kept")
	}
	wantWholeBucket(t, b, 6)
	heads.setDown(false)
	b.Recover()
	next := openLedger(t, audit.LedgerConfig{Bucket: b, Heads: heads})
	record(t, next, named("c", 3)...)
	if err := next.KeepHeads(t.Context()); err != nil {
		t.Error(err)
	}
	wantWholeBucket(t, b, 9)
	kept, _, err := heads.Load(t.Context(), audit.Access)
	if r := verifyBucket(t, b, heads); err != nil || !r.OK() || kept != r.Chains[0].Head {
		t.Errorf("kept is %v, %v\n%s", kept, err, r)
	}
}

func messages(t testing.TB, c audit.Category, ids ...string) (all []audit.Message) {
	t.Helper()
	for _, id := range ids {
		text := fmt.Sprintf(`{"category":%q,"eventId":%q,"time":"2026-01-31T23:59:59.25Z","event":{"action":"media.served"}}`, c, id)
		m, err := audit.ParseMessage([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func take(t testing.TB, l *audit.Ledger, all ...audit.Message) {
	t.Helper()
	for _, err := range l.Take(t.Context(), all...) {
		if err != nil {
			t.Error(err)
		}
	}
}

// A part is closed when it has 1 MiB.
func TestPartsHaveAMebibyte(t *testing.T) {
	b := audittest.NewBucket(t)
	l, err := audit.OpenLedger(audit.LedgerConfig{Bucket: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLedger(t, l) })
	for range 3 {
		record(t, l, audit.Event{Action: "a", Path: strings.Repeat("x", 600<<10)})
	}
	if n := len(b.Parts(audit.Access)); n != 2 {
		t.Errorf("%d parts", n)
	}
	wantWholeBucket(t, b, 3)
}

// A queue delivers more than once. What stands in the newest two parts is not put there again, whoever gets it.
func TestRedelivery(t *testing.T) {
	b := newBucket(t)
	first := openLedger(t, audit.LedgerConfig{Bucket: b})
	all := messages(t, audit.Access, "m1", "m2", "m3", "m2")
	take(t, first, all...)
	take(t, first, all...)
	take(t, openLedger(t, audit.LedgerConfig{Bucket: b}), all...)
	wantWholeBucket(t, b, 3)
	record(t, first, large("filler", 1), event(1), event(1), event(1), event(1))
	take(t, first, all...)
	take(t, openLedger(t, audit.LedgerConfig{Bucket: b}), all...)
	wantWholeBucket(t, b, 8)
	wantEach(t, b, "m1", "m2", "m3")
	if n := len(b.Parts(audit.Access)); n != 2 {
		t.Errorf("%d parts", n)
	}
}

// A batch of one chain goes in whole or not at all, and the chains do not hold each other up.
func TestABatchIsWholeOrNotThere(t *testing.T) {
	b := newBucket(t)
	l := openLedger(t, audit.LedgerConfig{Bucket: b})
	all := append(messages(t, audit.Access, "a1", "a2"), messages(t, audit.Upload, "u1")...)
	all = append(all, messages(t, audit.Access, "a3")...)
	bad := all[0]
	bad.EventID, bad.Event = "bad", json.RawMessage(`{"action":"audit.gap"}`)
	all = append(all, bad)
	b.Fail(audittest.Failure{Op: "write", Key: "access", Times: 3, How: audittest.NotDone})
	errs := l.Take(t.Context(), all...)
	if errs[0] == nil || errs[1] == nil || errs[2] != nil || errs[3] == nil || vault.KindOf(errs[4]) != vault.Unprocessable {
		t.Errorf("%v", errs)
	}
	wantWholeBucket(t, b, 1)
	writes := b.Calls("write")
	take(t, l, all[:4]...)
	wantWholeBucket(t, b, 4)
	wantEach(t, b, "a1", "a2", "a3")
	if n := b.Calls("write") - writes; n > 1+2 { // and the heads
		t.Errorf("%d writes for one batch", n)
	}
}

// An entry has the time at which its event was handed in, whatever the order; the chain is whole all the same.
func TestTimesOverMidnight(t *testing.T) {
	b, now := newBucket(t), newClock("2026-03-01T23:59:59Z")
	l := openLedger(t, audit.LedgerConfig{Bucket: b, Now: now.Now})
	for _, s := range []string{"2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z", "2026-03-01T23:59:58Z", "2026-03-02T02:00:01+02:00", "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z"} {
		now.set(s)
		record(t, l, event(1))
	}
	wantWholeBucket(t, b, 6)
	for i, line := range bytes.Split(bytes.TrimSpace(b.Chain(audit.Access)), []byte("\n")) {
		want := []string{"03-01T23:59:59", "03-02T00:00:00", "03-01T23:59:58", "03-02T00:00:01", "02-01T00:00:00", "01-01T00:00:00"}[i]
		if e, err := audit.ParseLine(line); err != nil || e.Time.Format("01-02T15:04:05") != want {
			t.Errorf("entry %d is of %v, want %s; %v", i+1, e.Time, want, err)
		}
	}
}

func TestMessagesThatAreNone(t *testing.T) {
	good := `{"category":"access","eventId":"id","time":"2026-01-31T23:59:59.25Z","event":{"action":"a"}}`
	if m, err := audit.ParseMessage([]byte(good)); err != nil || m.EventID != "id" {
		t.Error(m, err)
	}
	for name, bad := range map[string]string{
		"no JSON": "hello", "an array": "[]", "nothing": "{}",
		"category":   strings.Replace(good, "access", "../x", 1),
		"id":         strings.Replace(good, `"id"`, `"a b"`, 1),
		"no time":    strings.Replace(good, "2026-01-31T23:59:59.25Z", "", 1),
		"far future": strings.Replace(good, "2026-", "20260-", 1),
		"ancient":    strings.Replace(good, "2026-", "0001-", 1),
		"event":      strings.Replace(good, `{"action":"a"}`, `"a"`, 1),
		"spaces":     strings.Replace(good, `{"action":"a"}`, `{"action": "a"}`, 1),
		"not UTF-8":  strings.Replace(good, `{"action":"a"}`, "{\"action\":\"a\xff\"}", 1),
		"no action":  strings.Replace(good, `{"action":"a"}`, `{"path":"a"}`, 1),
		"own action": strings.Replace(good, `{"action":"a"}`, `{"path":"a","action":"audit.gap"}`, 1),
		"too long":   strings.Replace(good, `{"action":"a"}`, `{"action":"a`+strings.Repeat("x", 1<<20)+`"}`, 1),
	} {
		if _, err := audit.ParseMessage([]byte(bad)); vault.KindOf(err) != vault.Unprocessable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
