package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An API key is pv_{id}_{secret}, 55 bytes: an id of 8 lower-case hex digits, which may be shown, and 32 random bytes in
// base64url (RFC 4648, section 5). The file of keys is JSON, and holds no key but the SHA-256 of each, over all its 55 bytes:
//
//	{"version":1,"keys":[{"id":"0badc0de","name":"front desk","roles":["uploader"],
//	 "hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","createdAt":"2026-01-02T15:04:05Z",
//	 "expiresAt":"2026-04-02T15:04:05Z","revokedAt":"2026-01-03T08:00:00Z"}]}
//
// A plain hash is enough: what it is of cannot be guessed. A file that is not as described here lets nobody in.
const (
	keyPrefix   = "pv_"
	keyIDLen    = 8
	secretBytes = 32
	keyLen      = len(keyPrefix) + keyIDLen + 1 + 43
	fileVersion = 1
)

// Key is an API key as it is kept: everything but the key.
type Key struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"` // the userId of everything that is done with it
	Roles     []Role    `json:"roles"`
	Hash      string    `json:"hash"` // lower-case hex SHA-256 of the key
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // never, if zero
	RevokedAt time.Time `json:"revokedAt,omitzero"` // not, if zero
}

// State is what a key is good for at a time: active, expired or revoked.
func (k Key) State(now time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "revoked"
	case !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt):
		return "expired"
	}
	return "active"
}

type keyFile struct {
	Version int   `json:"version"`
	Keys    []Key `json:"keys"`
}

// newKey makes a key that is as kept describes, and returns what is to be shown once and what is to be kept.
func newKey(kept Key) (shown string, _ Key) {
	id, secret := make([]byte, keyIDLen/2), make([]byte, secretBytes)
	_, _ = rand.Read(id) // never fails
	_, _ = rand.Read(secret)
	kept.ID = hex.EncodeToString(id)
	shown = keyPrefix + kept.ID + "_" + base64.RawURLEncoding.EncodeToString(secret)
	sum := sha256.Sum256([]byte(shown))
	kept.Hash = hex.EncodeToString(sum[:])
	return shown, kept
}

// wellFormed reports whether a credential could be a key. It looks at no secret of ours.
func wellFormed(credential string) bool {
	return len(credential) == keyLen && strings.HasPrefix(credential, keyPrefix) && credential[len(keyPrefix)+keyIDLen] == '_'
}

func parseKeys(data []byte) ([]Key, error) {
	var f keyFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a misspelt revokedAt must not let anybody in
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("the file of keys cannot be read as JSON: %w", err)
	}
	if d.More() || f.Version != fileVersion {
		return nil, fmt.Errorf("the file of keys is not one of version %d", fileVersion)
	}
	ids, hashes := map[string]bool{}, map[string]bool{}
	for _, k := range f.Keys {
		if err := k.check(); err != nil {
			return nil, fmt.Errorf("the file of keys: key %q: %w", k.ID, err)
		}
		if ids[k.ID] || hashes[k.Hash] {
			return nil, fmt.Errorf("the file of keys: key %q stands there twice", k.ID)
		}
		ids[k.ID], hashes[k.Hash] = true, true
	}
	return f.Keys, nil
}

func (k Key) check() error {
	if sum, err := hex.DecodeString(k.Hash); err != nil || len(sum) != sha256.Size || strings.ToLower(k.Hash) != k.Hash {
		return errors.New("its hash is no SHA-256 in 64 lower-case hex digits")
	}
	if id, err := hex.DecodeString(k.ID); err != nil || len(id) != keyIDLen/2 || strings.ToLower(k.ID) != k.ID {
		return errors.New("its id has not 8 lower-case hex digits")
	}
	return CheckKey(k.Name, k.Roles)
}

// ValidName reports whether a caller may be called so.
func ValidName(name string) bool {
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= 128 && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl) && strings.TrimSpace(name) == name
}

// CheckKey reports what is wrong with a name and roles that a key is to have.
func CheckKey(name string, roles []Role) error {
	if !ValidName(name) {
		return errors.New("the name must have 1 to 128 characters, no control characters, and no space at its ends")
	}
	if len(roles) == 0 {
		return errors.New("a key wants a role at least")
	}
	for _, r := range roles {
		if !slices.Contains(Roles, r) {
			return fmt.Errorf("there is no role %q: there are %v", r, Roles)
		}
	}
	return nil
}

func formatKeys(keys []Key) ([]byte, error) {
	data, err := json.MarshalIndent(keyFile{fileVersion, keys}, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("write the file of keys: %w", err)
	}
	return append(data, '\n'), nil
}
