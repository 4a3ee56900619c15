// Package upload takes a video in, piece by resumable piece, over tus 1.0.0 (https://tus.io/protocols/resumable-upload).
//
// The directory holds two files for an upload:
//
//	{uploadId}        the bytes so far; gone once the upload has become a video
//	{uploadId}.json   the record, a vault.Upload, replaced whole at every change
//
// A piece is written at the record's offset, synced, and only then does the record move on to the new offset: what an
// answer acknowledges is on disk. Bytes beyond the record's offset are the rest of a piece that nobody was told about;
// they are cut off when the upload is resumed. While a piece is coming in, the record moves on every 64 MiB, so that a
// crash costs no more than that. With the offset goes the state of the SHA-256 over the bytes before it, so that the
// checksum of the whole is known when the last byte is there.
package upload

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/vault"
)

// Dir keeps uploads in a directory. Any number of processes may use the same one; whoever changes an upload holds its
// lock (tusd's handlers and Hold see to that).
type Dir struct {
	Path   string        // UPLOAD_DIR
	Expiry time.Duration // how long an upload that nobody adds to is kept
	Now    func() time.Time
	Log    *slog.Logger
}

const recordSuffix = ".json"

// Init makes the directory.
func (d *Dir) Init() error {
	if err := durable.Mkdir(d.Path, durable.DirMode); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

// DataPath is where the bytes of an upload are until it becomes a video.
func (d *Dir) DataPath(id vault.UploadID) string { return filepath.Join(d.Path, string(id)) }

func (d *Dir) recordPath(id vault.UploadID) string { return d.DataPath(id) + recordSuffix }

// Get returns the record of an upload, also of one that has expired. One that is not there is a NotFound error.
func (d *Dir) Get(_ context.Context, id vault.UploadID) (vault.Upload, error) {
	data, err := os.ReadFile(d.recordPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return vault.Upload{}, errNotFound()
	}
	if err != nil {
		return vault.Upload{}, fmt.Errorf("read record of upload %s: %w", id, err)
	}
	var u vault.Upload
	if err := json.Unmarshal(data, &u); err != nil {
		return vault.Upload{}, fmt.Errorf("read record of upload %s: %w", id, err)
	}
	if u.UploadID != id || u.Offset < 0 || u.Offset > u.Size {
		return vault.Upload{}, fmt.Errorf("read record of upload %s: it is not a record of that upload", id)
	}
	return u, nil
}

func errNotFound() error {
	return vault.Errorf(vault.NotFound, "upload_not_found", "there is no such upload; create one with POST /uploads")
}

// Save replaces the record of an upload. It is on disk when Save returns.
func (d *Dir) Save(_ context.Context, u vault.Upload) error {
	data, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("write record of upload %s: %w", u.UploadID, err)
	}
	if err := durable.WriteFile(d.recordPath(u.UploadID), data, durable.FileMode); err != nil {
		return fmt.Errorf("write record of upload %s: %w", u.UploadID, noSpace(err))
	}
	return nil
}

// Expired reports whether the upload was left alone for so long that it may go. One that has been handed to finalize
// never does.
func (d *Dir) Expired(u vault.Upload) bool { return u.Finalize == nil && d.Now().After(u.ExpiresAt) }

// Checksum returns the lower-case hex SHA-256 of the bytes before the record's offset.
func (d *Dir) Checksum(u vault.Upload) (string, error) {
	h, err := restoreHash(u)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func restoreHash(u vault.Upload) (hash.Hash, error) {
	h := sha256.New()
	if u.Offset == 0 {
		return h, nil
	}
	if err := unmarshalHash(h, u.HashState); err != nil {
		return nil, fmt.Errorf("read record of upload %s: %w", u.UploadID, err)
	}
	return h, nil
}

func marshalHash(h hash.Hash) ([]byte, error) {
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("save hash state: %w", err)
	}
	return state, nil
}

func unmarshalHash(h hash.Hash, state []byte) error {
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return fmt.Errorf("restore hash state: %w", err)
	}
	return nil
}

func (d *Dir) create(ctx context.Context, size int64, metadata map[string]string) (vault.Upload, error) {
	if free, ok := freeBytes(d.Path); ok && size > free {
		return vault.Upload{}, errNoSpace()
	}
	now := d.Now().UTC()
	u := vault.Upload{
		UploadID: vault.NewUploadID(), VideoID: vault.NewVideoID(), Size: size, Metadata: metadata,
		CreatedAt: now, ExpiresAt: now.Add(d.Expiry),
	}
	f, err := os.OpenFile(d.DataPath(u.UploadID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, durable.FileMode)
	if err != nil {
		return vault.Upload{}, fmt.Errorf("create upload: %w", noSpace(err))
	}
	if err := errors.Join(f.Close(), d.Save(ctx, u)); err != nil {
		_ = os.Remove(d.DataPath(u.UploadID))
		return vault.Upload{}, err
	}
	return u, nil
}

// remove forgets an upload: the record first, so that a crash leaves bytes without a record, which the sweep removes, and
// not a record that promises bytes.
func (d *Dir) remove(u vault.Upload) error {
	if err := durable.Remove(d.recordPath(u.UploadID)); err != nil {
		return fmt.Errorf("remove upload %s: %w", u.UploadID, err)
	}
	if err := durable.Remove(d.DataPath(u.UploadID)); err != nil {
		return fmt.Errorf("remove upload %s: %w", u.UploadID, err)
	}
	return nil
}

// Open lists the uploads whose bytes have not become a video yet, among them ones without a record and ones that
// finalize has begun with.
func (d *Dir) Open(context.Context) ([]vault.UploadID, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	var ids []vault.UploadID
	for _, name := range names {
		if id, err := vault.ParseUploadID(name); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Discard removes an upload whose lock the caller holds if it has expired, or if its bytes have no record and were last
// written longer ago than uploads are kept. It reports whether it did.
func (d *Dir) Discard(ctx context.Context, id vault.UploadID) (bool, error) {
	u, err := d.Get(ctx, id)
	switch {
	case err == nil && d.Expired(u):
		return true, d.remove(u)
	case vault.KindOf(err) != vault.NotFound:
		return false, err
	}
	info, err := os.Stat(d.DataPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || d.Now().Sub(info.ModTime()) < d.Expiry {
		return false, err
	}
	return true, durable.Remove(d.DataPath(id))
}

func errNoSpace() *vault.Error {
	return vault.Errorf(vault.NoSpace, "no_space", "the disk here is full; what was acknowledged is kept, resume when there is room")
}

// noSpace makes an error that callers may see of the system's ways to say that the disk is full.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || isQuota(err) {
		return errNoSpace().Because(err)
	}
	return err
}
