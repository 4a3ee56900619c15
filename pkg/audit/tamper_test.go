package audit_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"pulsevault/pkg/audit"
)

const (
	day1 = "access-2026-01-01.log"
	day2 = "access-2026-01-02.log"
	day3 = "access-2026-01-03.log"
)

// threeDays writes five entries on each of three days and closes the log.
func threeDays(t *testing.T, heads audit.HeadStore) (dir string) {
	t.Helper()
	dir = t.TempDir()
	now := &clock{}
	l := open(t, audit.Config{Dir: dir, Now: now.Now, Heads: heads})
	for _, day := range []string{"01", "02", "03"} {
		now.set("2026-01-" + day + "T12:00:00Z")
		appendN(t, l, 5)
	}
	closeLog(t, l)
	wantWhole(t, dir, 15)
	return dir
}

func edit(f func(lines [][]byte) [][]byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		lines := bytes.SplitAfter(read(t, dir, day2), []byte("\n"))
		write(t, bytes.Join(f(lines[:5]), nil), dir, day2)
	}
}

// rehash gives a changed line the hash that belongs to it.
func rehash(line []byte) []byte {
	i := bytes.LastIndex(line, []byte(`,"hash":"`))
	body := append(slices.Clone(line[:i]), '}')
	return fmt.Appendf(nil, `%s,"hash":"%x"}`+"\n", line[:i], sha256.Sum256(body))
}

func change(line []byte, old, with string) []byte {
	if !bytes.Contains(line, []byte(old)) {
		panic(old + " is not in the line")
	}
	return bytes.Replace(line, []byte(old), []byte(with), 1)
}

func TestVerifyFindsTampering(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(t *testing.T, dir string)
		want   string
	}{
		"edited line": {edit(func(l [][]byte) [][]byte { l[2] = change(l[2], "served", "sErved"); return l }), day2 + ":3: the hash is not"},
		"edited line with its own hash": {edit(func(l [][]byte) [][]byte { l[2] = rehash(change(l[2], "served", "sErved")); return l }),
			day2 + ":4: its prevHash"},
		"edited newest line with its own hash": {func(t *testing.T, dir string) {
			l := bytes.SplitAfter(read(t, dir, day3), []byte("\n"))
			l[4] = rehash(change(l[4], "served", "sErved"))
			write(t, bytes.Join(l, nil), dir, day3)
		}, "heads/access.json: the kept head (seq 15"},
		"removed line":  {edit(func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) }), day2 + ":2: entries 7 to 7 are missing"},
		"repeated line": {edit(func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[2]) }), day2 + ":4: entry 8 stands after entry 8"},
		"swapped lines": {edit(func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }), day2 + ":2: entries 7 to 7"},
		"blank line":    {edit(func(l [][]byte) [][]byte { return slices.Insert(l, 3, []byte("\n")) }), day2 + ":4: blank line"},
		"line endings":  {edit(func(l [][]byte) [][]byte { l[0] = change(l[0], "\n", "\r\n"); return l }), day2 + ":1: not an entry"},
		"no newline":    {edit(func(l [][]byte) [][]byte { l[4] = l[4][:len(l[4])-1]; return l }), day2 + ":5: the file ends"},
		"trailing text": {edit(func(l [][]byte) [][]byte { return append(l, []byte("x")) }), day2 + ":6: the file ends"},
		"spaces":        {edit(func(l [][]byte) [][]byte { l[1] = rehash(change(l[1], `"event":{`, `"event":{ `)); return l }), day2 + ":2: the event"},
		"member order":  {edit(func(l [][]byte) [][]byte { l[1] = rehash(change(l[1], `"v":1,"seq":7`, `"seq":7,"v":1`)); return l }), day2 + ":2: not an entry"},
		"too long": {edit(func(l [][]byte) [][]byte {
			l[1] = rehash(change(l[1], "hls/", string(bytes.Repeat([]byte("x"), audit.MaxLine))))
			return l
		}), day2 + ":2: longer"},
		"other day":       {edit(func(l [][]byte) [][]byte { l[0] = rehash(change(l[0], "2026-01-02", "2026-01-01")); return l }), "an entry of 2026-01-01"},
		"later day":       {edit(func(l [][]byte) [][]byte { l[3] = rehash(change(l[3], "2026-01-02", "2026-01-03")); return l }), "an entry of 2026-01-03"},
		"other chain":     {edit(func(l [][]byte) [][]byte { l[0] = rehash(change(l[0], `"access"`, `"upload"`)); return l }), "an entry of the chain upload"},
		"cut tail":        {func(t *testing.T, dir string) { cut(t, 1, dir, day3) }, "the kept head (seq 15"},
		"first removed":   {func(t *testing.T, dir string) { remove(t, dir, day1) }, day2 + ":1: entries 1 to 5 are missing"},
		"middle removed":  {func(t *testing.T, dir string) { remove(t, dir, day2) }, day3 + ":1: entries 6 to 10 are missing"},
		"last removed":    {func(t *testing.T, dir string) { remove(t, dir, day3) }, "the kept head (seq 15"},
		"all removed":     {func(t *testing.T, dir string) { remove(t, dir, day1); remove(t, dir, day2); remove(t, dir, day3) }, "the kept head (seq 15"},
		"first emptied":   {func(t *testing.T, dir string) { write(t, nil, dir, day1) }, day1 + ": is empty"},
		"middle emptied":  {func(t *testing.T, dir string) { write(t, nil, dir, day2) }, day2 + ": is empty"},
		"last emptied":    {func(t *testing.T, dir string) { write(t, nil, dir, day3) }, "the kept head (seq 15"},
		"head unreadable": {func(t *testing.T, dir string) { write(t, []byte("{}"), dir, "heads/access.json") }, "heads/access.json: the kept head cannot be read"},
		"head ahead": {func(t *testing.T, dir string) {
			write(t, change(read(t, dir, "heads/access.json"), `"seq":15`, `"seq":16`), dir, "heads/access.json")
		}, "the kept head (seq 16"},
		"directory as day file": {func(t *testing.T, dir string) { write(t, nil, dir, "x"); mkdir(t, dir, "access-2026-01-04.log") }, "access-2026-01-04.log: has the name"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := threeDays(t, nil)
			c.tamper(t, dir)
			wantFinding(t, verify(t, dir, nil), c.want)
			// Going on with the log must not cover it up.
			l := open(t, audit.Config{Dir: dir, Now: newClock("2026-01-05T00:00:00Z").Now})
			appendN(t, l, 30)
			closeLog(t, l)
			if r := verify(t, dir, nil); r.OK() && name != "head unreadable" {
				t.Errorf("not found any more after further entries:\n%s", r)
			}
		})
	}
}

func TestVerifyNotes(t *testing.T) {
	dir := threeDays(t, nil)
	write(t, nil, dir, "access-2026-01-01.log.bak")
	write(t, nil, dir, "access-2026-13-01.log")
	write(t, nil, dir, "torn", "x.bin")
	write(t, nil, dir, "heads", "x.json")
	remove(t, dir, "heads", "access.json")
	r := wantWhole(t, dir, 15)
	for _, want := range []string{"access-2026-01-01.log.bak: is no part", "access-2026-13-01.log: is no part", "torn/x.bin: no entry", "heads/x.json: no entry", "no head is kept"} {
		wantNote(t, r, want)
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(dir, "nowhere")} {
		if r := verify(t, dir, nil); !r.OK() || len(r.Chains)+len(r.Notes) != 0 {
			t.Errorf("nothing there: %s", r)
		}
	}
	if r := verify(t, filepath.Join(dir, "nowhere"), &store{down: true}); !r.OK() || len(r.Notes) == 0 {
		t.Errorf("a store that is down should be noted: %s", r)
	}
}

// A log that lost its tail and is appended to again must show it, whoever appends: the living Log or a fresh one.
func TestGap(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, dir string){
		"tail":     func(t *testing.T, dir string) { cut(t, 2, logFile(t, dir)) },
		"all":      func(t *testing.T, dir string) { remove(t, logFile(t, dir)) },
		"emptied":  func(t *testing.T, dir string) { write(t, nil, logFile(t, dir)) },
		"edited":   func(t *testing.T, dir string) { f := logFile(t, dir); write(t, read(t, f)[:len(read(t, f))-3], f) },
		"dir gone": func(t *testing.T, dir string) { remove(t, dir) },
	} {
		for _, living := range []bool{true, false} {
			if name == "dir gone" && !living {
				continue // its heads are gone with it
			}
			t.Run(fmt.Sprintf("%s living=%v", name, living), func(t *testing.T) {
				dir := t.TempDir()
				l := open(t, audit.Config{Dir: dir})
				appendN(t, l, 10)
				if !living {
					closeLog(t, l)
				}
				harm(t, dir)
				if !living {
					l = open(t, audit.Config{Dir: dir})
				}
				appendN(t, l, 30)
				closeLog(t, l)
				l = open(t, audit.Config{Dir: dir})
				appendN(t, l, 5)
				closeLog(t, l)
				r := verify(t, dir, nil)
				wantFinding(t, r, "gap: entry 10 had been kept")
				if len(r.Findings) != 1 {
					t.Errorf("one gap should be one finding:\n%s", r)
				}
			})
		}
	}
}

// Either kept head is enough; a store that is down is waited for before it is overwritten.
func TestHeadStore(t *testing.T) {
	t.Run("directory's head wiped with the tail", func(t *testing.T) {
		heads := &store{}
		dir := threeDays(t, heads)
		remove(t, dir, "heads")
		cut(t, 2, dir, day3)
		wantFinding(t, verify(t, dir, heads), "head store: access: the kept head (seq 15")
		l := open(t, audit.Config{Dir: dir, Heads: heads})
		closeLog(t, l) // not one entry is needed
		wantFinding(t, verify(t, dir, heads), "gap: entry 15 had been kept")
		if h, _, _ := heads.Load(t.Context(), audit.Access); h.Seq != 14 {
			t.Errorf("after the gap was noted the store holds %s", h)
		}
	})
	t.Run("store wiped", func(t *testing.T) {
		dir := threeDays(t, &store{})
		cut(t, 2, dir, day3)
		l := open(t, audit.Config{Dir: dir, Heads: &store{}})
		appendN(t, l, 1)
		closeLog(t, l)
		wantFinding(t, verify(t, dir, nil), "gap: entry 15")
	})
	t.Run("both wiped", func(t *testing.T) {
		dir := threeDays(t, nil)
		remove(t, dir, "heads")
		heads := &store{}
		l := open(t, audit.Config{Dir: dir, Heads: heads})
		appendN(t, l, 1)
		closeLog(t, l)
		wantWhole(t, dir, 16)
		if h, _, _ := heads.Load(t.Context(), audit.Access); h.Seq != 16 {
			t.Errorf("the store holds %s", h)
		}
	})
	t.Run("no head in the store", func(t *testing.T) {
		heads := &store{heads: map[audit.Category]audit.Head{audit.Access: {Seq: 99, File: "x"}}}
		dir := threeDays(t, heads)
		if r := verify(t, dir, heads); !r.OK() || heads.heads[audit.Access].Seq != 15 {
			t.Errorf("the store holds %s\n%s", heads.heads[audit.Access], r)
		}
	})
	t.Run("store down", func(t *testing.T) {
		heads := &store{}
		dir := threeDays(t, heads)
		remove(t, dir, "heads")
		cut(t, 2, dir, day3)
		heads.down = true
		l := open(t, audit.Config{Dir: dir, Heads: heads})
		appendN(t, l, 20)
		closeLog(t, l)
		heads.down = false
		wantFinding(t, verify(t, dir, heads), "the kept head (seq 15")
		l = open(t, audit.Config{Dir: dir, Heads: heads})
		appendN(t, l, 1)
		closeLog(t, l)
		wantFinding(t, verify(t, dir, heads), "gap: entry 15")
	})
	t.Run("stale", func(t *testing.T) {
		dir := t.TempDir()
		heads := &store{}
		l := open(t, audit.Config{Dir: dir, Heads: heads})
		appendN(t, l, 3)
		closeLog(t, l)
		old, oldFile := heads.heads[audit.Access], read(t, dir, "heads/access.json")
		l = open(t, audit.Config{Dir: dir, Heads: heads})
		appendN(t, l, 3)
		closeLog(t, l)
		heads.heads[audit.Access] = old
		write(t, oldFile, dir, "heads/access.json")
		l = open(t, audit.Config{Dir: dir, Heads: heads})
		appendN(t, l, 1)
		closeLog(t, l)
		wantWhole(t, dir, 7)
	})
}
