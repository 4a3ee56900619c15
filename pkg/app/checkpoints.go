package app

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/durable"
)

const (
	signingKeyFile = ".audit-signing-key"
	signingKeyName = "pulsevault-audit"
)

// signingKey returns the private key of checkpoints: that of the configuration, or the one kept in MediaRoot, readable by
// its owner only, which is made if it is not there. It is "" with a bucket, where several machines would each make their
// own.
func (c Config) signingKey() (string, error) {
	if c.AuditSigningKey != "" || c.InBucket {
		return c.AuditSigningKey, nil
	}
	path := filepath.Join(c.MediaRoot, signingKeyFile)
	if inside, err := filepath.Rel(c.AuditDir, path); err == nil && filepath.IsLocal(inside) {
		return "", errors.New("AUDIT_DIR holds MEDIA_ROOT, where the key of its checkpoints would be kept: set AUDIT_SIGNING_KEY, or another AUDIT_DIR")
	}
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = makeSigningKey(path); errors.Is(err, fs.ErrExist) { // another process was first
			key, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return "", fmt.Errorf("the key of the audit log's checkpoints: %w", err)
	}
	return strings.TrimSpace(string(key)), nil
}

func makeSigningKey(path string) ([]byte, error) {
	private, _, err := note.GenerateKey(rand.Reader, signingKeyName)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), durable.DirMode); err != nil {
		return nil, err
	}
	return []byte(private), durable.Create(path, []byte(private+"\n"), 0o600)
}

// signer returns what signs checkpoints, nil where nothing does.
func (c Config) signer() (note.Signer, error) {
	key, err := c.signingKey()
	if key == "" || err != nil {
		return nil, err
	}
	s, err := note.NewSigner(key)
	if err != nil {
		return nil, errors.New("the key of the audit log's checkpoints is none: set AUDIT_SIGNING_KEY to a whole one, or restore the file " + signingKeyFile)
	}
	return s, nil
}

// AuditKey returns the public key of checkpoints, in the form of a verifier key of golang.org/x/mod/sumdb/note. It makes the
// private one if there is none yet.
func AuditKey(c Config) (string, error) {
	key, err := c.signingKey()
	if err != nil {
		return "", err
	}
	if key == "" {
		return "", errors.New("with STORAGE=s3 checkpoints are signed with AUDIT_SIGNING_KEY only: set it")
	}
	return publicKey(key)
}

// publicKey makes a verifier key of a signer key: PRIVATE+KEY+name+hash+base64 of the algorithm, 1 for Ed25519, and the seed.
func publicKey(private string) (string, error) {
	if _, err := note.NewSigner(private); err != nil {
		return "", errors.New("the key of the audit log's checkpoints is none")
	}
	parts := strings.SplitN(private, "+", 5)
	data, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil || len(data) != 1+ed25519.SeedSize {
		return "", errors.New("the key of the audit log's checkpoints is none of Ed25519")
	}
	return note.NewEd25519VerifierKey(parts[2], ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey))
}

// makesCheckpoints reports whether this process can make checkpoints of the audit log.
func (a *App) makesCheckpoints() (audit.Signable, bool) {
	log, ok := a.audit.(audit.Signable)
	return log, ok && a.signer != nil
}

// Started records that a process of a name has started, and has Close record its end.
func (a *App) Started(ctx context.Context, process string) {
	a.process = process
	a.recordProcess(ctx, "process.started")
	if _, ok := a.makesCheckpoints(); !ok {
		a.Log.WarnContext(ctx, "this process makes no checkpoints of the audit log: AUDIT_SIGNING_KEY is not set, or AUDIT_QUEUE_URL is")
	}
}

// stopped records the end of a process whose start was recorded, and signs that.
func (a *App) stopped() {
	if a.process == "" {
		return
	}
	ctx := context.Background()
	a.recordProcess(ctx, "process.stopped")
	a.process = ""
	if log, ok := a.makesCheckpoints(); ok {
		if _, err := log.Checkpoint(ctx, a.signer, audit.Stop); err != nil {
			a.Log.ErrorContext(ctx, "no checkpoint of the audit log could be made", "error", err)
		}
	}
}

func (a *App) recordProcess(ctx context.Context, action string) {
	err := a.audit.Append(ctx, audit.Admin, audit.Event{Action: action, Details: map[string]any{
		"process": a.process, "version": Version, "config": a.config.Digest(),
	}})
	if err != nil {
		a.Log.ErrorContext(ctx, "the audit log does not tell of this", "action", action, "error", err)
	}
}

// RunCheckpoints has checkpoints of the audit log made until ctx ends.
func (a *App) RunCheckpoints(ctx context.Context) {
	if log, ok := a.makesCheckpoints(); ok {
		audit.RunCheckpoints(ctx, log, a.signer, a.Log)
	}
}

// checkpoint makes one where a schedule calls.
func (a *App) checkpoint(ctx context.Context) {
	if log, ok := a.makesCheckpoints(); ok {
		if _, err := log.Checkpoint(ctx, a.signer, audit.EveryMinute); err != nil {
			a.Log.ErrorContext(ctx, "no checkpoint of the audit log could be made", "error", err)
		}
	}
}

// Digest is the SHA-256, in hex, of the configuration without its secrets: of one line NAME=VALUE for each exported field,
// in their order, the value in JSON. Of a field that is tagged as a secret it is told only whether it is set.
func (c Config) Digest() string {
	h := sha256.New()
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		value := v.Field(i).Interface()
		if field.Tag.Get("secret") == "true" {
			value = !v.Field(i).IsZero()
		}
		data, err := json.Marshal(value)
		if err != nil {
			data = []byte(fmt.Sprint(value))
		}
		fmt.Fprintf(h, "%s=%s\n", field.Name, data)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// InspectAudit verifies the log in a directory against the public keys that are given, and against nothing else.
func InspectAudit(ctx context.Context, dir string, keys []string, progress *audit.Progress) (audit.Report, error) {
	if _, err := os.Stat(dir); err != nil {
		return audit.Report{}, err
	}
	verifiers, err := verifiers(keys)
	if err != nil {
		return audit.Report{}, err
	}
	return audit.Inspection{Keys: verifiers, Progress: progress}.Dir(ctx, dir)
}

func verifiers(keys []string) (all []note.Verifier, err error) {
	for _, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("%q is no public key, such as pulsevault audit key prints", key)
		}
		all = append(all, v)
	}
	return all, nil
}

// warnUnsigned is for whoever appends to a bucket without a key.
func warnUnsigned(log *slog.Logger) {
	log.Warn("no checkpoints of the audit log are made: set AUDIT_SIGNING_KEY")
}
