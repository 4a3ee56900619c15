package audit_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/audit"
)

// files are those of a log, by their names below its folder or its prefix.
type files map[string][]byte

func (f files) matching(test func(name string) bool) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if test(name) {
			names = append(names, name)
		}
	}
	return names
}

func (f files) logs() []string {
	return f.matching(func(name string) bool { return strings.HasSuffix(name, ".log") })
}

func (f files) notes() []string {
	return f.matching(func(name string) bool { return strings.HasSuffix(name, ".note") })
}

func (f files) chain(of string) []string {
	category := of[:strings.IndexAny(of, "-.")]
	return f.matching(func(name string) bool { return strings.HasPrefix(name, category) && strings.HasSuffix(name, ".log") })
}

func lines(data []byte) [][]byte {
	l := bytes.SplitAfter(data, []byte("\n"))
	return l[:len(l)-1]
}

// mutator harms a log at a random place, as somebody would who can write to all of it, the kept heads too, and has no key.
type mutator struct {
	*rand.Rand
	files    files
	stranger note.Signer
}

func pick[T any](m *mutator, from []T) T { return from[m.IntN(len(from))] }

// covered picks a line that is older than the last checkpoint: of the chain admin all but the last one, which names that.
func (m *mutator) covered() (name string, all [][]byte, at int) {
	name = pick(m, m.files.logs())
	all = lines(m.files[name])
	n := len(all)
	if strings.HasPrefix(name, "admin") && name == slices.Max(m.files.chain(name)) {
		n--
	}
	if n == 0 {
		return m.covered()
	}
	return name, all, m.IntN(n)
}

func (m *mutator) put(name string, all [][]byte) { m.files[name] = bytes.Join(all, nil) }

// kinds are what the mutator does. Each returns what it did and where.
var kinds = map[string]func(m *mutator) string{
	"bit of a line": func(m *mutator) string {
		name, all, at := m.covered()
		i := m.IntN(len(all[at]))
		all[at][i] ^= 1 << m.IntN(8)
		m.put(name, all)
		return fmt.Sprintf("%s:%d, byte %d", name, at+1, i)
	},
	"edited line with its own hash": func(m *mutator) string {
		name, all, at := m.covered()
		all[at] = rehash(bytes.Replace(all[at], []byte(`"event":{"action":"`), []byte(`"event":{"action":"x`), 1))
		m.put(name, all)
		return fmt.Sprintf("%s:%d", name, at+1)
	},
	"removed lines": func(m *mutator) string {
		name, all, at := m.covered()
		to := at + 1 + m.IntN(min(3, len(all)-at))
		m.put(name, slices.Delete(all, at, to))
		return fmt.Sprintf("%s:%d-%d", name, at+1, to)
	},
	"inserted line": func(m *mutator) string {
		name, all, at := m.covered()
		_, others, from := m.covered()
		m.put(name, slices.Insert(all, at, others[from]))
		return fmt.Sprintf("%s:%d", name, at+1)
	},
	"swapped lines": func(m *mutator) string {
		name, all, at := m.covered()
		other := m.IntN(len(all))
		if other == at {
			m.put(name, slices.Delete(all, at, at+1))
		} else {
			all[at], all[other] = all[other], all[at]
			m.put(name, all)
		}
		return fmt.Sprintf("%s:%d and %d", name, at+1, other+1)
	},
	"cut tail": func(m *mutator) string {
		name, all, at := m.covered()
		for _, later := range m.files.chain(name) {
			if later > name {
				delete(m.files, later)
			}
		}
		m.put(name, all[:at])
		if m.IntN(2) == 0 {
			m.files[name] = append(m.files[name], all[at][:m.IntN(len(all[at]))]...)
		}
		if len(m.files[name]) == 0 && m.IntN(2) == 0 {
			delete(m.files, name)
		}
		return fmt.Sprintf("%s:%d", name, at+1)
	},
	"emptied file": func(m *mutator) string {
		name, _, _ := m.covered()
		m.files[name] = nil
		return name
	},
	"removed file": func(m *mutator) string {
		name, _, _ := m.covered()
		delete(m.files, name)
		return name
	},
	"removed day": func(m *mutator) string {
		name, _, _ := m.covered()
		day := name[strings.IndexAny(name, "-."):]
		for _, other := range m.files.logs() {
			if strings.HasSuffix(other, day) {
				delete(m.files, other)
			}
		}
		return day
	},
	"rewritten with new hashes": func(m *mutator) string {
		name, _, at := m.covered()
		m.rewrite(name, at)
		return fmt.Sprintf("from %s:%d on", name, at+1)
	},
	"removed checkpoint": func(m *mutator) string {
		name := pick(m, m.files.notes())
		delete(m.files, name)
		return name
	},
	"bit of a checkpoint": func(m *mutator) string {
		name := pick(m, m.files.notes())
		i := m.IntN(len(m.files[name]))
		m.files[name][i] ^= 1 << m.IntN(8)
		return fmt.Sprintf("%s, byte %d", name, i)
	},
	"checkpoint signed by a stranger": func(m *mutator) string {
		name := pick(m, m.files.notes())
		text, _, _ := bytes.Cut(m.files[name], []byte("\n\n"))
		forged, err := note.Sign(&note.Note{Text: string(text) + "\n"}, m.stranger)
		if err != nil {
			panic(err)
		}
		m.files[name] = forged
		return name
	},
	"exchanged checkpoints": func(m *mutator) string {
		all := m.files.notes()
		i := m.IntN(len(all) - 1)
		a, b := all[i], all[i+1+m.IntN(len(all)-i-1)]
		m.files[a], m.files[b] = m.files[b], m.files[a]
		return a + " and " + b
	},
}

// rewrite changes an entry and makes all that follow it link to it, and the kept head be the new one: a log as good as any.
func (m *mutator) rewrite(name string, at int) {
	var prev []byte
	for _, file := range m.files.chain(name) {
		if file < name {
			continue
		}
		all := lines(m.files[file])
		for i := range all {
			switch {
			case file == name && i < at:
				continue
			case prev == nil:
				all[i] = bytes.Replace(all[i], []byte(`"event":{"action":"`), []byte(`"event":{"action":"x`), 1)
			default:
				j := bytes.Index(all[i], []byte(`"prevHash":"`)) + len(`"prevHash":"`)
				all[i] = slices.Concat(all[i][:j], prev, all[i][j+64:])
			}
			all[i] = rehash(all[i])
			prev = all[i][len(all[i])-67 : len(all[i])-3]
		}
		m.put(file, all)
	}
	for _, head := range m.files.matching(func(n string) bool { return strings.HasPrefix(n, "heads/") }) {
		delete(m.files, head)
	}
}

const mutations = 1000

// mutate harms a log a thousand times, each time in one way, and looks whether the harm is found. The seed is told, so that
// what is not found can be done again.
func mutate(t *testing.T, whole files, verify func(files) audit.Report) {
	t.Helper()
	if r := verify(whole); !r.OK() {
		t.Fatalf("the log should be whole:\n%s", r)
	}
	stranger, _ := newKey(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	names := slices.Sorted(maps.Keys(kinds))
	count := map[string]int{}
	for n := range uint64(mutations) {
		m := &mutator{rand.New(rand.NewPCG(seed, n)), files{}, stranger}
		for name, data := range whole {
			m.files[name] = bytes.Clone(data)
		}
		if heads := m.files.matching(func(n string) bool { return strings.HasPrefix(n, "heads/") }); m.IntN(2) == 0 {
			for _, head := range heads {
				delete(m.files, head)
			}
		}
		kind := pick(m, names)
		where := kinds[kind](m)
		count[kind]++
		if r := verify(m.files); r.OK() {
			t.Errorf("seed %d, mutation %d is not found: %s at %s\n%s", seed, n, kind, where, r)
		} else if r.Findings[0].Place == "" || r.Findings[0].Reason == "" {
			t.Errorf("seed %d, mutation %d: %s at %s: found, and nobody says where\n%s", seed, n, kind, where, r)
		}
	}
	t.Logf("mutations of each kind: %v", count)
}

// busyDays is a log of three days and three chains, with checkpoints every few entries.
func busyDays(t *testing.T, l signableLog, now *clock, s note.Signer) {
	t.Helper()
	chains := []audit.Category{audit.Access, audit.Upload, audit.Admin}
	for day := 1; day <= 3; day++ {
		for n := range 30 {
			now.set(fmt.Sprintf("2026-01-%02dT12:%02d:00Z", day, n))
			if err := l.Append(t.Context(), chains[n%3], event(n)); err != nil {
				t.Fatal(err)
			}
			if n%7 == 0 {
				sign(t, l, s, audit.EveryMinute)
			}
		}
	}
	sign(t, l, s, audit.Stop)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRandomMutationsAreFound(t *testing.T) {
	s, key := newKey(t)
	dir, now := t.TempDir(), newClock("2026-01-01T00:00:00Z")
	busyDays(t, open(t, audit.Config{Dir: dir, Now: now.Now}), now, s)
	whole := files{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			whole[filepath.ToSlash(path[len(dir)+1:])] = read(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	mutate(t, whole, func(f files) audit.Report {
		dir := filepath.Join(work, "audit")
		for name, data := range f {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750); err != nil {
				t.Fatal(err)
			}
			write(t, data, dir, name)
		}
		r := inspect(t, dir, key)
		remove(t, dir)
		return r
	})
}

func TestRandomMutationsAreFoundInABucket(t *testing.T) {
	s, key := newKey(t)
	b, now := newBucket(t), newClock("2026-01-01T00:00:00Z")
	b.PartSize = 2 << 10
	busyDays(t, openLedger(t, audit.LedgerConfig{Bucket: b, Now: now.Now}), now, s)
	ctx := deadline(t)
	whole := files{}
	for _, prefix := range []string{"audit/", "audit/heads/", "audit/checkpoints/"} {
		keys, err := b.List(ctx, prefix)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			whole[strings.TrimPrefix(k, "audit/")], _, _ = b.Read(ctx, k)
		}
	}
	mutate(t, whole, func(f files) audit.Report {
		work := newBucket(t)
		for name, data := range f {
			work.Tamper("audit/"+name, func([]byte) []byte { return append([]byte{}, data...) })
		}
		r, err := audit.Inspection{Keys: []note.Verifier{key}}.Bucket(ctx, work)
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
}
