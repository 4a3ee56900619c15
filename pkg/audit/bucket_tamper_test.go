package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/audit/audittest"
)

// threeParts writes three parts of four entries each, the last of them not closed, and closes the ledger.
func threeParts(t *testing.T, heads audit.HeadStore) *audittest.Bucket {
	t.Helper()
	b := newBucket(t)
	l := openLedger(t, audit.LedgerConfig{Bucket: b, Heads: heads})
	for range 2 {
		record(t, l, event(1), event(2), large("", 1), audit.Event{Action: "a", Path: string(bytes.Repeat([]byte("x"), 4096))})
	}
	record(t, l, event(1), event(2), event(3), event(4))
	closeLedger(t, l)
	if n := len(b.Parts(audit.Access)); n != 3 {
		t.Fatalf("%d parts", n)
	}
	wantWholeBucket(t, b, 12)
	return b
}

func partKey(number int) string { return fmt.Sprintf("audit/access.%08d.log", number) }

// editPart changes the lines of a part.
func editPart(number int, f func(lines [][]byte) [][]byte) func(*audittest.Bucket) {
	return func(b *audittest.Bucket) {
		b.Tamper(partKey(number), func(data []byte) []byte {
			lines := bytes.SplitAfter(data, []byte("\n"))
			return bytes.Join(f(lines[:len(lines)-1]), nil)
		})
	}
}

func copyOf(b *audittest.Bucket, number int) (data []byte) {
	b.Tamper(partKey(number), func(now []byte) []byte {
		data = now
		return now
	})
	return data
}

func removePart(number int) func(*audittest.Bucket) {
	return func(b *audittest.Bucket) { b.Tamper(partKey(number), func([]byte) []byte { return nil }) }
}

func TestVerifyBucketFindsTampering(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(*audittest.Bucket)
		want   string
	}{
		"edited line": {editPart(2, func(l [][]byte) [][]byte { l[1] = change(l[1], "served", "sErved"); return l }), "access.00000002.log:2: the hash is not"},
		"edited line with its own hash": {editPart(2, func(l [][]byte) [][]byte { l[1] = rehash(change(l[1], "served", "sErved")); return l }),
			"access.00000002.log:3: its prevHash"},
		"edited last line of a part": {editPart(1, func(l [][]byte) [][]byte { l[3] = rehash(change(l[3], `"a"`, `"b"`)); return l }),
			"access.00000002.log:1: its prevHash"},
		"edited newest line": {editPart(3, func(l [][]byte) [][]byte { l[3] = rehash(change(l[3], "served", "sErved")); return l }),
			"heads/access.json: the kept head (seq 12"},
		"removed line":           {editPart(2, func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) }), "access.00000002.log:2: entries 6 to 6 are missing"},
		"removed first line":     {editPart(1, func(l [][]byte) [][]byte { return l[1:] }), "access.00000001.log:1: entries 1 to 1 are missing"},
		"repeated line":          {editPart(2, func(l [][]byte) [][]byte { return slices.Insert(l, 1, l[0]) }), "access.00000002.log:2: entry 5 stands after entry 5"},
		"swapped lines":          {editPart(3, func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }), "access.00000003.log:2: entries 10 to 10"},
		"foreign line":           {editPart(3, func(l [][]byte) [][]byte { return append(l, []byte("hello\n")) }), "access.00000003.log:5: not an entry"},
		"end of a line":          {editPart(3, func(l [][]byte) [][]byte { l[3] = l[3][:len(l[3])-3]; return l }), "access.00000003.log:4: the file ends without a newline"},
		"cut tail":               {editPart(3, func(l [][]byte) [][]byte { return l[:2] }), "heads/access.json: the kept head (seq 12"},
		"cut part in the middle": {editPart(2, func(l [][]byte) [][]byte { return l[:2] }), "access.00000003.log:1: entries 7 to 8 are missing"},
		"removed newest part":    {removePart(3), "heads/access.json: the kept head (seq 12"},
		"removed middle part":    {removePart(2), "access.00000003.log: the 1 parts before it are missing, from access.00000002.log on"},
		"removed first part":     {removePart(1), "access.00000002.log: the 1 parts before it are missing"},
		"removed all": {func(b *audittest.Bucket) {
			for n := range 3 {
				removePart(n + 1)(b)
			}
		}, "heads/access.json: the kept head (seq 12"},
		"empty part": {editPart(2, func([][]byte) [][]byte { return nil }), "access.00000002.log: is empty"},
		"empty end":  {func(b *audittest.Bucket) { b.Tamper(partKey(4), func([]byte) []byte { return []byte{} }) }, "access.00000004.log: is empty"},
		"swapped parts": {func(b *audittest.Bucket) {
			first, second := copyOf(b, 1), copyOf(b, 2)
			b.Tamper(partKey(1), func([]byte) []byte { return second })
			b.Tamper(partKey(2), func([]byte) []byte { return first })
		}, "access.00000001.log:1: entries 1 to 4 are missing"},
		"another chain": {func(b *audittest.Bucket) {
			first := copyOf(b, 1)
			b.Tamper("audit/auth.00000001.log", func([]byte) []byte { return first })
		}, "auth.00000001.log:1: an entry of the chain access"},
		"unknown object": {func(b *audittest.Bucket) { b.Tamper("audit/access.1.log", func([]byte) []byte { return []byte("x") }) }, "access.1.log: is no part of the log"},
		"unknown head": {func(b *audittest.Bucket) {
			b.Tamper("audit/heads/old.json", func([]byte) []byte { return []byte("x") })
		}, "heads/old.json: is no part"},
		"head of another log": {func(b *audittest.Bucket) {
			b.Tamper("audit/heads/access.json", func(data []byte) []byte { return bytes.Replace(data, []byte("access"), []byte("upload"), 1) })
		}, "heads/access.json: the kept head cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := threeParts(t, nil)
			c.tamper(b)
			wantFinding(t, verifyBucket(t, b, nil), c.want)
		})
	}
}

// A chain that has lost its end and is appended to again must show it, whoever appends, and once.
func TestGapInABucket(t *testing.T) {
	for name, harm := range map[string]func(*audittest.Bucket){
		"tail":        editPart(3, func(l [][]byte) [][]byte { return l[:2] }),
		"all of it":   editPart(3, func([][]byte) [][]byte { return nil }),
		"newest part": removePart(3),
		"changed": editPart(3, func(l [][]byte) [][]byte {
			last := len(l) - 1
			l[last] = rehash(change(l[last], "served", "sErved"))
			return l
		}),
		"two parts": func(b *audittest.Bucket) { removePart(3)(b); removePart(2)(b) },
		"everything": func(b *audittest.Bucket) {
			for n := range 3 {
				removePart(n + 1)(b)
			}
		},
	} {
		for _, living := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s living=%v", name, living), func(t *testing.T) {
				t.Parallel()
				b := threeParts(t, nil)
				ledgers := []*audit.Ledger{openLedger(t, audit.LedgerConfig{Bucket: b}), openLedger(t, audit.LedgerConfig{Bucket: b})}
				if living {
					for _, l := range ledgers {
						record(t, l, event(13))
					}
				}
				harm(b)
				b.Fail(audittest.Failure{Op: "write", Key: ".log", Times: 1, How: audittest.Done})
				for _, l := range ledgers {
					record(t, l, named(fmt.Sprintf("%p", l), 3)...)
					closeLedger(t, l)
				}
				r := verifyBucket(t, b, nil)
				wantFinding(t, r, "gap: entry 1")
				if name != "all of it" && !living && len(r.Findings) != 1 {
					t.Errorf("one gap should be one finding:\n%s", r)
				}
			})
		}
	}
}

// The chain goes on behind what somebody has put at its end, and leaves it as it is.
func TestWhatIsNoEntryClosesAPart(t *testing.T) {
	for name, end := range map[string]string{"line": "hello\n", "no line": "hello", "blank": "\n"} {
		t.Run(name, func(t *testing.T) {
			b := threeParts(t, nil)
			b.Tamper(partKey(3), func(data []byte) []byte { return append(data, end...) })
			for range 2 {
				l := openLedger(t, audit.LedgerConfig{Bucket: b})
				record(t, l, event(13))
				closeLedger(t, l)
			}
			r := verifyBucket(t, b, nil)
			wantFinding(t, r, "access.00000003.log:5: ")
			if len(r.Findings) != 1 || entries(r) != 14 || len(b.Parts(audit.Access)) != 4 {
				t.Errorf("%v\n%s", b.Parts(audit.Access), r)
			}
		})
	}
}

// A head in the store is enough, and is not replaced before it was looked for.
func TestAHeadStoreBesideABucket(t *testing.T) {
	heads := &store{}
	b := threeParts(t, heads)
	b.Tamper("audit/heads/access.json", func([]byte) []byte { return nil })
	editPart(3, func(l [][]byte) [][]byte { return l[:2] })(b)
	wantFinding(t, verifyBucket(t, b, heads), "head store: access: the kept head (seq 12")
	closeLedger(t, openLedger(t, audit.LedgerConfig{Bucket: b, Heads: heads})) // not one entry is needed
	wantFinding(t, verifyBucket(t, b, heads), "gap: entry 12 had been kept")
	if h, _, _ := heads.Load(t.Context(), audit.Access); h.Seq != 11 {
		t.Errorf("after the gap was noted the store holds %s", h)
	}
	if r := verifyBucket(t, b, heads); len(r.Findings) != 1 {
		t.Errorf("one gap should be one finding:\n%s", r)
	}
}
