package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Dir keeps uploads in a directory, for a media.Dir on the same file system. Any number of processes may use the same one.
type Dir struct {
	Path   string        // UPLOAD_DIR
	Media  Media         // where the bytes go
	Expiry time.Duration // how long an upload that nobody adds to is kept
	Now    func() time.Time
	Log    *slog.Logger
}

// Media is where the bytes of uploads become originals: *media.Dir.
type Media interface {
	Import(ctx context.Context, files map[string]string) error
	Stamp(ctx context.Context, key string) (version string, err error)
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

// Get reads a record.
func (d *Dir) Get(_ context.Context, id vault.UploadID) (vault.Upload, error) {
	data, err := os.ReadFile(d.recordPath(id))
	return parseRecord(id, data, err)
}

// Save replaces the file of a record.
func (d *Dir) Save(_ context.Context, u *vault.Upload) error {
	data, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("write record of upload %s: %w", u.UploadID, err)
	}
	if err := durable.WriteFile(d.recordPath(u.UploadID), data, durable.FileMode); err != nil {
		return fmt.Errorf("write record of upload %s: %w", u.UploadID, noSpace(err))
	}
	return nil
}

// Create makes a record and an empty file, if the disk has room for all of the bytes.
func (d *Dir) Create(ctx context.Context, owner string, size int64, metadata map[string]string) (vault.Upload, error) {
	if free, ok := freeBytes(d.Path); ok && size > free {
		return vault.Upload{}, errNoSpace()
	}
	u := newUpload(owner, size, metadata, d.Now(), d.Expiry)
	f, err := os.OpenFile(d.DataPath(u.UploadID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, durable.FileMode)
	if err != nil {
		return vault.Upload{}, fmt.Errorf("create upload: %w", noSpace(err))
	}
	if err := errors.Join(f.Close(), d.Save(ctx, &u)); err != nil {
		_ = d.Remove(ctx, u) // nobody hears of it; the record may be there although saving it failed
		return vault.Upload{}, err
	}
	return u, nil
}

// Remove removes the record first, so that a crash leaves bytes without a record, which the sweep removes, and not a
// record that promises bytes.
func (d *Dir) Remove(_ context.Context, u vault.Upload) error {
	if err := durable.Remove(d.recordPath(u.UploadID)); err != nil {
		return fmt.Errorf("remove upload %s: %w", u.UploadID, err)
	}
	if err := durable.Remove(d.DataPath(u.UploadID)); err != nil {
		return fmt.Errorf("remove upload %s: %w", u.UploadID, err)
	}
	return nil
}

// Head reads the beginning of the file.
func (d *Dir) Head(_ context.Context, u vault.Upload) (head []byte, err error) {
	f, err := os.Open(d.DataPath(u.UploadID))
	if err != nil {
		return nil, fmt.Errorf("read upload %s: %w", u.UploadID, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, HeadSize))
}

// Deliver moves the file to its place in the media directory, unless that was done before.
func (d *Dir) Deliver(ctx context.Context, u vault.Upload) error {
	path, key := d.DataPath(u.UploadID), media.OriginalKey(u.VideoID)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err := d.Media.Stamp(ctx, key)
		return err
	case err != nil:
		return fmt.Errorf("deliver upload %s: %w", u.UploadID, err)
	case info.Size() < u.Size:
		return fmt.Errorf("deliver upload %s: its record says %d bytes, the file has %d", u.UploadID, u.Size, info.Size())
	}
	return d.Media.Import(ctx, map[string]string{key: path})
}

// Open lists the files that are not records.
func (d *Dir) Open(context.Context) ([]vault.UploadID, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	return uploadIDs(names), nil
}

// Discard takes the time of a file without a record from the file.
func (d *Dir) Discard(ctx context.Context, id vault.UploadID) (bool, error) {
	u, err := d.Get(ctx, id)
	switch {
	case err == nil && u.Expired(d.Now()):
		return true, d.Remove(ctx, u)
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
