// Package audittest has a bucket in memory for tests of what keeps the audit log in one.
//
// It has a conscience: it fails the test when a rule is broken. A call must end some time; a part only grows, by whole
// lines, and not once it holds 1 MiB; a part follows one that is closed; a head is one; a checkpoint is one and stays. And it fails on command: with the
// call carried out or not, or carried out when nobody waits for it any more.
package audittest

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

// Bucket is a bucket in memory.
type Bucket struct {
	PartSize int // what closes a part, 1 MiB at first
	t        testing.TB

	mu      sync.Mutex
	objects map[string]object
	made    int // versions
	fails   []Failure
	late    *lateWrite
	calls   map[string]int
}

type object struct {
	data    []byte
	version string
}

// Failure is what the calls of an operation meet whose key holds a text, after some that go well.
type Failure struct {
	Op, Key string // read, write or list
	After   int
	Times   int // -1 is always
	How     How
}

// How says how a call fails.
type How string

// How a call fails.
const (
	NotDone How = "not done"      // and reported so
	Done    How = "done"          // but reported as failed
	Later   How = "done later"    // reported as failed, and done before the next write
	Refused How = "done, refused" // done, but reported as a conflict, as a client does that tries again by itself
)

// lateWrite is a write that is still under way after its caller has given up.
type lateWrite struct {
	key, ifVersion string
	data           []byte
}

var errAway = errors.New("the bucket is away")

// NewBucket makes a Bucket for one test.
func NewBucket(t testing.TB) *Bucket {
	return &Bucket{PartSize: 1 << 20, t: t, objects: map[string]object{}, calls: map[string]int{}}
}

// Fail has calls fail.
func (b *Bucket) Fail(f Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails = append(b.fails, f)
}

// Recover ends all failures.
func (b *Bucket) Recover() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails = nil
}

// meets counts a call and says how it fails.
func (b *Bucket) meets(ctx context.Context, op, key string) How {
	if _, ok := ctx.Deadline(); !ok {
		b.t.Errorf("%s %s may take for ever", op, key)
	}
	b.calls[op]++
	for i := range b.fails {
		f := &b.fails[i]
		if f.Op != op || !strings.Contains(key, f.Key) || f.Times == 0 {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		f.Times--
		return f.How
	}
	return ""
}

// Read is part of audit.Bucket.
func (b *Bucket) Read(ctx context.Context, key string) ([]byte, string, error) {
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

// List is part of audit.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.meets(ctx, "list", prefix) != "" {
		return nil, errAway
	}
	return b.keys(prefix), nil
}

func (b *Bucket) keys(prefix string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(b.objects)), func(k string) bool {
		rest, ok := strings.CutPrefix(k, prefix)
		return !ok || strings.Contains(rest, "/")
	})
}

// Write is part of audit.Bucket.
func (b *Bucket) Write(ctx context.Context, key string, data []byte, ifVersion string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.late; l != nil {
		b.late = nil
		_, _ = b.put(l.key, l.data, l.ifVersion)
	}
	m := b.meets(ctx, "write", key)
	switch m {
	case NotDone:
		return "", errAway
	case Later:
		b.late = &lateWrite{key, ifVersion, bytes.Clone(data)}
		return "", errAway
	}
	version, err := b.put(key, data, ifVersion)
	switch {
	case err != nil || m == "":
		return version, err
	case m == Refused:
		return "", conflict(key)
	}
	return "", errAway
}

func conflict(key string) error {
	return vault.Errorf(vault.Conflict, "changed", "%s is another one by now", key)
}

func (b *Bucket) put(key string, data []byte, ifVersion string) (string, error) {
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

func (b *Bucket) judge(key string, old object, data []byte) {
	if strings.HasPrefix(key, "audit/heads/") {
		var head audit.Head
		if err := json.Unmarshal(data, &head); err != nil || head.Seq == 0 {
			b.t.Errorf("%s becomes %s", key, data)
		}
		return
	}
	if strings.HasPrefix(key, "audit/checkpoints/") {
		if _, err := audit.OpenCheckpoint(data, nil); err != nil || old.version != "" {
			b.t.Errorf("%s was %q and becomes %q", key, old.data, data)
		}
		return
	}
	form := partForm.FindStringSubmatch(key)
	if form == nil {
		b.t.Errorf("what is %s?", key)
		return
	}
	switch {
	case len(old.data) >= b.PartSize:
		b.t.Errorf("%s is closed and gets more", key)
	case !bytes.HasPrefix(data, old.data) || len(data) == len(old.data):
		b.t.Errorf("%s does not grow", key)
	case !bytes.HasSuffix(data, []byte("\n")):
		b.t.Errorf("%s ends in the middle of a line", key)
	}
	number, _ := strconv.Atoi(form[2])
	before := b.objects[fmt.Sprintf("%s%08d.log", form[1], number-1)].data
	if sound := bytes.HasSuffix(before, []byte("}\n")); number > 1 && len(before) < b.PartSize && sound {
		b.t.Errorf("%s is begun before the one before it is closed", key)
	}
}

// Chain is all parts of a category, one after the other.
func (b *Bucket) Chain(c audit.Category) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []byte
	for _, key := range b.keys("audit/" + string(c) + ".") {
		all = append(all, b.objects[key].data...)
	}
	return all
}

// Parts are the keys of a category's parts.
func (b *Bucket) Parts(c audit.Category) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.keys("audit/" + string(c) + ".")
}

// Tamper changes an object behind everybody's back; nil removes it.
func (b *Bucket) Tamper(key string, change func([]byte) []byte) {
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

// Calls is how often an operation was asked for.
func (b *Bucket) Calls(op string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[op]
}
