package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pulsevault/pkg/vault"
)

const (
	// lookEvery is how long what is known of the keys is taken as it is.
	lookEvery = 400 * time.Millisecond
	// trustFor is for how long it is taken while the file cannot be looked at. After that nobody is let in by a key: a
	// revocation that we cannot see must count within a second.
	trustFor = 900 * time.Millisecond
	// lookTimeout bounds one look.
	lookTimeout = 5 * time.Second
)

// Store is where the file of keys is: a media.Store.
type Store interface {
	Read(ctx context.Context, key string) (data []byte, version string, err error)
	Stamp(ctx context.Context, key string) (version string, err error)
	Write(ctx context.Context, key string, data []byte, ifVersion string) (version string, err error)
}

// Keyring knows the API keys. Any number of processes may share the file; each looks whether it has changed at most every 400
// ms, and only when it is asked for a key. A file that is not there holds no keys. While it cannot be read, or what it
// says cannot be understood, no key opens anything, and the answer is an error of the kind Unavailable: nobody is told that a
// good key is a bad one.
type Keyring struct {
	Store Store
	File  string // its key in Store
	Now   func() time.Time
	Log   *slog.Logger

	known   atomic.Pointer[knownKeys]
	looking sync.Mutex
	failed  error     // of the last look; under looking
	tried   time.Time // when that was
}

// knownKeys are the keys of one version of the file. at is when it was last known to be that.
type knownKeys struct {
	version string
	at      time.Time
	hashes  map[[sha256.Size]byte]Key
	ids     map[string]Key
}

// Authenticate returns whose key the credential is. It is found by its hash, so how long that takes says nothing about how
// much of a key is right.
func (k *Keyring) Authenticate(ctx context.Context, credential string) (Caller, error) {
	if credential == "" {
		return Caller{}, NoCredential
	}
	if !wellFormed(credential) {
		return Caller{}, Malformed
	}
	known, err := k.current(ctx)
	if err != nil {
		return Caller{}, err
	}
	key, ok := known.hashes[sha256.Sum256([]byte(credential))]
	if !ok {
		return Caller{}, UnknownKey
	}
	c := Caller{Name: key.Name, Roles: key.Roles, KeyID: key.ID}
	switch key.State(k.Now()) {
	case "revoked":
		return c, KeyRevoked
	case "expired":
		return c, KeyExpired
	}
	return c, nil
}

// Revoked reports whether what was done with a key no longer holds: it was revoked, or removed from the file, or that cannot
// be looked at. A key that has expired has not been revoked.
func (k *Keyring) Revoked(id string) bool {
	known, err := k.current(context.Background())
	if err != nil {
		return true
	}
	key, ok := known.ids[id]
	return !ok || !key.RevokedAt.IsZero()
}

// current returns what is known of the keys, having looked where that is due. While one looks, others go on with what was
// known a moment before.
func (k *Keyring) current(ctx context.Context) (*knownKeys, error) {
	known := k.known.Load()
	age := k.age(known)
	if age < lookEvery {
		return known, nil
	}
	if age >= trustFor {
		k.looking.Lock()
	} else if !k.looking.TryLock() {
		return known, nil
	}
	defer k.looking.Unlock()
	if known = k.known.Load(); k.age(known) < lookEvery {
		return known, nil
	}
	if k.failed == nil || k.Now().Sub(k.tried) >= lookEvery {
		k.look(ctx)
	}
	if known = k.known.Load(); k.age(known) < trustFor {
		return known, nil
	}
	return nil, vault.Errorf(vault.Unavailable, "keys_unavailable", "API keys cannot be checked now; try again").Because(k.failed)
}

func (k *Keyring) age(known *knownKeys) time.Duration {
	if known == nil {
		return trustFor
	}
	return k.Now().Sub(known.at)
}

// look reads the file if it has changed. Who it looks for may go; others wait for the same.
func (k *Keyring) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	k.tried = k.Now() // before the look: what changes meanwhile is looked for again
	known, err := k.read(ctx)
	if err != nil && k.failed == nil {
		k.Log.ErrorContext(ctx, "API keys cannot be read, so none is accepted", "error", err)
	}
	if k.failed = err; err == nil {
		known.at = k.tried
		k.known.Store(known)
	}
}

func (k *Keyring) read(ctx context.Context) (*knownKeys, error) {
	version, err := k.Store.Stamp(ctx, k.File)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if last := k.known.Load(); last != nil && last.version == version {
		same := *last
		return &same, nil
	}
	keys, version, err := k.load(ctx)
	if err != nil {
		return nil, err
	}
	known := &knownKeys{version: version, hashes: map[[sha256.Size]byte]Key{}, ids: map[string]Key{}}
	for _, key := range keys {
		sum, _ := hex.DecodeString(key.Hash) // which was checked
		known.hashes[[sha256.Size]byte(sum)], known.ids[key.ID] = key, key
	}
	return known, nil
}

// load returns what is in the file, and its version: empty, as Stamp and Write have it, if there is none.
func (k *Keyring) load(ctx context.Context) ([]Key, string, error) {
	data, version, err := k.Store.Read(ctx, k.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	keys, err := parseKeys(data)
	return keys, version, err
}

// List returns all keys, the oldest first.
func (k *Keyring) List(ctx context.Context) ([]Key, error) {
	keys, _, err := k.load(ctx)
	return keys, err
}

// Create makes a key that is good until expires, or for good if that is zero, and returns it: this once, for only its hash is
// kept. It works everywhere within a second. record is called before the key can be used, and its error stops it.
func (k *Keyring) Create(ctx context.Context, name string, roles []Role, expires time.Time, record func(Key) error) (shown string, _ Key, err error) {
	if err := CheckKey(name, roles); err != nil {
		return "", Key{}, vault.Errorf(vault.Invalid, "invalid_key", "%s", err)
	}
	key := Key{Name: name, Roles: slices.Compact(slices.Sorted(slices.Values(roles))), CreatedAt: k.Now().UTC().Truncate(time.Second), ExpiresAt: expires}
	shown, key = newKey(key)
	if err := record(key); err != nil {
		return "", Key{}, fmt.Errorf("the key is not made, for it cannot be recorded: %w", err)
	}
	err = k.change(ctx, func(keys []Key) ([]Key, error) { return append(keys, key), nil })
	if err != nil {
		return "", Key{}, err
	}
	return shown, key, nil
}

// Revoke ends a key everywhere within a second, and the links that were signed with it. Its entry in the file stays. A key
// that has been revoked before is a Conflict.
func (k *Keyring) Revoke(ctx context.Context, id string) (revoked Key, err error) {
	err = k.change(ctx, func(keys []Key) ([]Key, error) {
		i := slices.IndexFunc(keys, func(key Key) bool { return key.ID == id })
		switch {
		case i < 0:
			return nil, vault.Errorf(vault.NotFound, "key_not_found", "there is no key %q; pulsevault keys list shows them", id)
		case !keys[i].RevokedAt.IsZero():
			return nil, vault.Errorf(vault.Conflict, "key_revoked", "the key %s was revoked at %s", id, keys[i].RevokedAt.Format(time.RFC3339))
		}
		keys[i].RevokedAt = k.Now().UTC().Truncate(time.Second)
		revoked = keys[i]
		return keys, nil
	})
	return revoked, err
}

// maxChanges is how often a change is tried that others get ahead of.
const maxChanges = 50

// change replaces the file by what edit makes of it, if nobody else has changed it since it was read, and else begins again.
func (k *Keyring) change(ctx context.Context, edit func([]Key) ([]Key, error)) error {
	for try := 1; ; try++ {
		keys, version, err := k.load(ctx)
		if err != nil {
			return err
		}
		if keys, err = edit(keys); err != nil {
			return err
		}
		data, err := formatKeys(keys)
		if err != nil {
			return err
		}
		_, err = k.Store.Write(ctx, k.File, data, version)
		if err == nil || vault.KindOf(err) != vault.Conflict || try == maxChanges {
			return err
		}
	}
}
