package token

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pulsevault/pkg/internal/secretfile"
)

// LookEvery is how long what is known of a file of secrets is taken as it is.
const LookEvery = 400 * time.Millisecond

// File is a file of secrets, one a line: the first signs, and what was signed by any of them is accepted. Its Signers notice when
// it has changed, without a restart: whatever they sign or verify LookEvery after another file was renamed over it goes by that
// one. A secret is changed while links are out, and while several processes share the file, by putting the next one behind the one
// that signs, so that everybody accepts it; a second later, by putting it before that one; and by leaving that one out when
// its links have ended. While the file cannot be read, or holds a secret that is too short, what was in it goes on to be good.
type File struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	start  time.Time
	looked atomic.Int64 // nanoseconds from start
	mu     sync.Mutex
	seen   fs.FileInfo // of the file that is known; under mu, as what follows
	failed bool
	keys   []string
	uses   map[*Signer]string
}

// OpenFile reads a file of secrets. now is the clock of its Signers, time.Now if nil.
func OpenFile(path string, now func() time.Time, log *slog.Logger) (*File, error) {
	f := &File{path: path, now: now, log: log, start: time.Now(), uses: map[*Signer]string{}}
	return f, f.read()
}

// Signer returns a Signer by the secrets of the file, or by what Derive makes of them for a use that has a name.
func (f *File) Signer(use string) (*Signer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := newSigner(f.now, derived(f.keys, use)...)
	if err != nil {
		return nil, err
	}
	s.file = f
	f.uses[s] = use
	return s, nil
}

func derived(secrets []string, use string) []string {
	if use == "" {
		return secrets
	}
	d := make([]string, len(secrets))
	for i, secret := range secrets {
		d[i] = Derive(secret, use)
	}
	return d
}

// look reads the file if it is another one than is known. Whoever comes meanwhile waits, so that nobody goes by an old one for
// longer than LookEvery.
func (f *File) look() {
	if time.Since(f.start)-time.Duration(f.looked.Load()) < LookEvery {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Since(f.start) // before the look: what changes meanwhile is looked for again
	if at-time.Duration(f.looked.Load()) < LookEvery {
		return
	}
	defer f.looked.Store(int64(at))
	info, err := os.Stat(f.path)
	if err == nil && same(f.seen, info) {
		f.failed = false
		return
	}
	if err == nil {
		err = f.read()
	}
	if err == nil {
		f.log.Info("the secrets that links are signed by have changed", "file", f.path, "secrets", len(f.keys))
	} else if !f.failed {
		f.log.Error("the secrets that links are signed by cannot be read: those of before stay good", "file", f.path, "error", err)
	}
	f.failed = err != nil
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// read takes over what is in the file, all of it or nothing.
func (f *File) read() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	secrets, err := secretfile.Read(f.path)
	if err != nil {
		return err
	}
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return fmt.Errorf("token: the secret in line %d of %s has %d bytes: it must have %d or more", i+1, f.path, len(secret), MinSecret)
		}
	}
	f.seen, f.keys = info, secrets
	for s, use := range f.uses {
		s.take(derived(secrets, use))
	}
	return nil
}
