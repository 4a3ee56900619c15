package auth_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// ring is a keyring on a folder, and the path of its file.
func ring(t *testing.T) (k *auth.Keyring, time *clock, file string) {
	t.Helper()
	dir := t.TempDir()
	c := &clock{now: start}
	return keyring(dir, c), c, filepath.Join(dir, "keys.json")
}

var start = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

func keyring(dir string, c *clock) *auth.Keyring {
	return &auth.Keyring{Store: &media.Dir{Auth: dir}, File: media.KeysKey, Now: c.Now, Log: slog.New(slog.DiscardHandler)}
}

func create(t *testing.T, k *auth.Keyring, name string, expires time.Time, roles ...auth.Role) (string, auth.Key) {
	t.Helper()
	shown, key, err := k.Create(t.Context(), name, roles, expires, func(auth.Key) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return shown, key
}

func refused(t *testing.T, k auth.Authenticator, credential string, want auth.Refusal) {
	t.Helper()
	c, err := k.Authenticate(t.Context(), credential)
	var got auth.Refusal
	if !errors.As(err, &got) || got != want || c.Open() {
		t.Errorf("%.20q: %+v, %v; want %s", credential, c, err, want)
	}
}

func TestKeys(t *testing.T) {
	k, clock, file := ring(t)
	shown, key := create(t, k, "front desk", time.Time{}, auth.Viewer, auth.Uploader, auth.Viewer)
	c, err := k.Authenticate(t.Context(), shown)
	if err != nil || c.Name != "front desk" || c.KeyID != key.ID || len(c.Roles) != 2 || !c.Has(auth.Uploader) || !c.Has(auth.Viewer) {
		t.Fatalf("%+v, %v", c, err)
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(data), shown[12:]) || !strings.Contains(string(data), key.ID) {
		t.Errorf("the file is %s, %v", data, err)
	}
	short, _ := create(t, k, "visitor", start.Add(time.Hour), auth.Viewer)
	clock.pass(time.Second)
	if _, err := k.Authenticate(t.Context(), short); err != nil {
		t.Errorf("a fresh key: %v", err)
	}
	clock.pass(time.Hour)
	refused(t, k, short, auth.KeyExpired)
	if _, err := k.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	clock.pass(time.Second)
	refused(t, k, shown, auth.KeyRevoked)
	if _, err := k.Revoke(t.Context(), key.ID); vault.KindOf(err) != vault.Conflict {
		t.Errorf("revoked twice: %v", err)
	}
	if _, err := k.Revoke(t.Context(), "00000000"); vault.KindOf(err) != vault.NotFound {
		t.Errorf("revoked what is not there: %v", err)
	}
}

func TestAKeyThatCannotBeRecordedIsNotMade(t *testing.T) {
	k, _, _ := ring(t)
	_, _, err := k.Create(t.Context(), "ann", []auth.Role{auth.Admin}, time.Time{}, func(auth.Key) error { return errors.New("disk full") })
	if keys, listErr := k.List(t.Context()); err == nil || listErr != nil || len(keys) != 0 {
		t.Errorf("%v; there are %v, %v", err, keys, listErr)
	}
}

// Others notice within a second what has become of the file: changed, edited, removed.
func TestOtherProcessesNotice(t *testing.T) {
	k, clock, file := ring(t)
	other := keyring(filepath.Dir(file), clock)
	shown, key := create(t, k, "ann", time.Time{}, auth.Uploader)
	if _, err := other.Authenticate(t.Context(), shown); err != nil || other.Revoked(key.ID) {
		t.Fatal(err)
	}
	later, _ := create(t, k, "bob", time.Time{}, auth.Uploader)
	clock.pass(999 * time.Millisecond)
	if _, err := other.Authenticate(t.Context(), later); err != nil {
		t.Errorf("a new key: %v", err)
	}
	data, _ := os.ReadFile(file)
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), `"uploader"`, `"viewer"`, 1)), 0o640); err != nil {
		t.Fatal(err)
	}
	clock.pass(999 * time.Millisecond)
	if c, err := other.Authenticate(t.Context(), shown); err != nil || !c.Has(auth.Viewer) || c.Has(auth.Uploader) {
		t.Errorf("edited by hand: %+v, %v", c, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	clock.pass(999 * time.Millisecond)
	refused(t, other, shown, auth.UnknownKey)
	if !other.Revoked(key.ID) {
		t.Error("a key that is gone has not been revoked")
	}
}

// While the file cannot be read or understood nobody gets in, and nobody is told that a good key is a bad one.
func TestWithoutItsFileTheKeyringSaysSo(t *testing.T) {
	k, clock, file := ring(t)
	shown, key := create(t, k, "ann", time.Time{}, auth.Uploader)
	good, _ := os.ReadFile(file)
	breaks := map[string]func() error{
		"not JSON": func() error { return os.WriteFile(file, []byte("{"), 0o640) },
		"a member misspelt": func() error {
			return os.WriteFile(file, []byte(strings.Replace(string(good), `"hash"`, `"revoked_at":"2026-01-01T00:00:00Z","hash"`, 1)), 0o640)
		},
		"no such role": func() error {
			return os.WriteFile(file, []byte(strings.Replace(string(good), `"uploader"`, `"root"`, 1)), 0o640)
		},
		"a short hash": func() error {
			return os.WriteFile(file, []byte(strings.Replace(string(good), key.Hash, key.Hash[2:], 1)), 0o640)
		},
		"another format": func() error { return os.WriteFile(file, []byte(strings.Replace(string(good), `: 1`, `: 2`, 1)), 0o640) },
		"a folder": func() error {
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o750), os.WriteFile(filepath.Join(file, "x"), nil, 0o640))
		},
		"not mounted": func() error { return os.Rename(filepath.Dir(file), filepath.Dir(file)+"-away") },
	}
	for name, spoil := range breaks {
		if _, err := k.Authenticate(t.Context(), shown); err != nil {
			t.Fatalf("before %s: %v", name, err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		clock.pass(999 * time.Millisecond)
		wantErr := vault.Unavailable
		_, err := k.Authenticate(t.Context(), shown)
		if name == "a folder" { // which holds no keys
			wantErr = vault.Internal
			refused(t, k, shown, auth.UnknownKey)
		}
		if vault.KindOf(err) != wantErr {
			t.Errorf("%s: %v", name, err)
		}
		if !k.Revoked(key.ID) {
			t.Errorf("%s: links of a key that cannot be checked go on", name)
		}
		_ = os.Rename(filepath.Dir(file)+"-away", filepath.Dir(file))
		_ = os.RemoveAll(file)
		if err := os.WriteFile(file, good, 0o640); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Second)
	}
}

// 10,000 keys that are wrong in every way open nothing: random ones, and good ones with one character changed.
func TestNoOtherKeyIsAccepted(t *testing.T) {
	k, _, _ := ring(t)
	shown, _ := create(t, k, "ann", time.Time{}, auth.Admin)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 10_000 {
		b := []byte(shown)
		from := 3
		switch i % 4 {
		case 0: // one character of a good one
			at := r.IntN(len(b))
			for c := b[at]; b[at] == c; {
				b[at] = letters[r.IntN(len(letters))]
			}
			from = len(b)
		case 1: // the end of it, from anywhere
			from = 12 + r.IntN(len(b)-12)
		case 2: // a part of it
			b = b[:r.IntN(len(b))]
			from = len(b)
		}
		for j := from; j < len(b); j++ {
			b[j] = letters[r.IntN(len(letters))]
		}
		if c, err := k.Authenticate(t.Context(), string(b)); string(b) != shown && (err == nil || c.Name != "" || c.Roles != nil) {
			t.Fatalf("%s is accepted as %+v", b, c)
		}
	}
	for _, odd := range []string{shown + " ", " " + shown, shown + "\x00", strings.ToUpper(shown), shown + shown, "Bearer " + shown} {
		refused(t, k, odd, auth.Malformed)
	}
}

// A refusal costs the same whatever of a key is right: of every well-formed key the hash is looked up, and nothing else. What a
// guess shares with a good key leads to another hash, so the steps cannot depend on it; here, their allocations do not.
func TestARefusalDoesTheSameForEveryKey(t *testing.T) {
	k, _, _ := ring(t)
	shown, _ := create(t, k, "ann", time.Time{}, auth.Admin)
	var first float64
	for right := 0; right < len(shown)-12; right++ {
		guess := shown[:12+right] + strings.Repeat("-", len(shown)-12-right)
		if guess == shown {
			continue
		}
		refused(t, k, guess, auth.UnknownKey)
		n := testing.AllocsPerRun(20, func() { _, _ = k.Authenticate(context.Background(), guess) })
		if right == 0 {
			first = n
		}
		if n != first {
			t.Errorf("with %d characters of the secret right a refusal makes %v allocations, with none %v", right, n, first)
		}
	}
}

func TestKeysAreMadeAtOnce(t *testing.T) {
	k, clock, file := ring(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, _, err := keyring(filepath.Dir(file), clock).Create(t.Context(), "x", []auth.Role{auth.Viewer}, time.Time{}, func(auth.Key) error { return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if keys, err := k.List(t.Context()); err != nil || len(keys) != 16 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}
