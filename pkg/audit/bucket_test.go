package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/vault"
)

// bucket is a bucket in memory. It has a conscience: it fails the test when a Ledger breaks a rule. A call must end some
// time; a part only grows, by whole lines, and not once it holds 1 MiB; a part follows one that is closed; a head is one.
// And it fails on command.
type bucket struct {
	t testing.TB

	mu      sync.Mutex
	objects map[string]object
	made    int // versions
	fails   []failure
	late    *lateWrite
	calls   map[string]int
}

type object struct {
	data    []byte
	version string
}

// failure is what the calls of an operation meet whose key holds a text, after some that go well.
type failure struct {
	op, key string
	after   int
	times   int
	mode    mode
}

type mode string

const (
	notDone mode = "not done"      // and reported so
	done    mode = "done"          // but reported as failed
	later   mode = "done later"    // reported as failed, and done before the next write
	refused mode = "done, refused" // done, but reported as a conflict, as a client does that tries again by itself
)

// lateWrite is a write that is still under way after its caller has given up.
type lateWrite struct {
	key, ifVersion string
	data           []byte
}

var errAway = errors.New("the bucket is away")

func newBucket(t testing.TB) *bucket {
	return &bucket{t: t, objects: map[string]object{}, calls: map[string]int{}}
}

func (b *bucket) fail(f failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails = append(b.fails, f)
}

// meets counts a call and says how it fails.
func (b *bucket) meets(ctx context.Context, op, key string) mode {
	if _, ok := ctx.Deadline(); !ok {
		b.t.Errorf("%s %s may take for ever", op, key)
	}
	b.calls[op]++
	for i := range b.fails {
		f := &b.fails[i]
		if f.op != op || !strings.Contains(key, f.key) || f.times == 0 {
			continue
		}
		if f.after > 0 {
			f.after--
			continue
		}
		f.times--
		return f.mode
	}
	return ""
}

func (b *bucket) Read(ctx context.Context, key string) ([]byte, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.meets(ctx, "read", key) != "" {
		return nil, "", errAway
	}
	o, ok := b.objects[key]
	if !ok {
		return nil, "", fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return bytes.Clone(o.data), o.version, nil
}

func (b *bucket) List(ctx context.Context, prefix string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.meets(ctx, "list", prefix) != "" {
		return nil, errAway
	}
	return b.keys(prefix), nil
}

func (b *bucket) keys(prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(b.objects)), func(k string) bool { return !strings.HasPrefix(k, prefix) })
}

func (b *bucket) Write(ctx context.Context, key string, data []byte, ifVersion string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.late; l != nil {
		b.late = nil
		_, _ = b.put(l.key, l.data, l.ifVersion)
	}
	m := b.meets(ctx, "write", key)
	switch m {
	case notDone:
		return "", errAway
	case later:
		b.late = &lateWrite{key, ifVersion, bytes.Clone(data)}
		return "", errAway
	}
	version, err := b.put(key, data, ifVersion)
	switch {
	case err != nil || m == "":
		return version, err
	case m == refused:
		return "", conflict(key)
	}
	return "", errAway
}

func conflict(key string) error {
	return vault.Errorf(vault.Conflict, "changed", "%s is another one by now", key)
}

func (b *bucket) put(key string, data []byte, ifVersion string) (string, error) {
	old := b.objects[key]
	if old.version != ifVersion {
		return "", conflict(key)
	}
	b.judge(key, old, data)
	b.made++
	b.objects[key] = object{bytes.Clone(data), strconv.Itoa(b.made)}
	return strconv.Itoa(b.made), nil
}

var partForm = regexp.MustCompile(`^(audit/[a-z]+\.)([0-9]{8})\.log$`)

func (b *bucket) judge(key string, old object, data []byte) {
	if strings.HasPrefix(key, "audit/heads/") {
		var head audit.Head
		if err := json.Unmarshal(data, &head); err != nil || head.Seq == 0 {
			b.t.Errorf("%s becomes %s", key, data)
		}
		return
	}
	form := partForm.FindStringSubmatch(key)
	if form == nil {
		b.t.Errorf("what is %s?", key)
		return
	}
	switch {
	case len(old.data) >= 1<<20:
		b.t.Errorf("%s is closed and gets more", key)
	case !bytes.HasPrefix(data, old.data) || len(data) == len(old.data):
		b.t.Errorf("%s does not grow", key)
	case !bytes.HasSuffix(data, []byte("\n")):
		b.t.Errorf("%s ends in the middle of a line", key)
	}
	number, _ := strconv.Atoi(form[2])
	before := b.objects[fmt.Sprintf("%s%08d.log", form[1], number-1)].data
	if sound := bytes.HasSuffix(before, []byte("}\n")); number > 1 && len(before) < 1<<20 && sound {
		b.t.Errorf("%s is begun before the one before it is closed", key)
	}
}

// chain is all parts of a category, one after the other.
func (b *bucket) chain(c audit.Category) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []byte
	for _, key := range b.keys("audit/" + string(c) + ".") {
		all = append(all, b.objects[key].data...)
	}
	return all
}

// parts are the keys of a category's parts.
func (b *bucket) parts(c audit.Category) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys("audit/" + string(c) + ".")
}

// tamper changes an object behind everybody's back; nil removes it.
func (b *bucket) tamper(key string, change func([]byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data := change(bytes.Clone(b.objects[key].data))
	if data == nil {
		delete(b.objects, key)
		return
	}
	b.made++
	b.objects[key] = object{data, strconv.Itoa(b.made)}
}

func (b *bucket) called(op string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[op]
}
