package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/vault"
)

// Dir keeps media in directories of one file system. Any number of processes may use the same ones.
type Dir struct {
	Videos  string // VIDEO_DIR: where the keys below videos/ live
	Pending string // where the keys below pending/ live
}

// lockPoll is how often a waiting Lock looks again.
const lockPoll = 5 * time.Millisecond

// Object is an open file: a seekable reader that knows its size and modification time. One from a Dir is an *os.File,
// so that it can be sent without passing through memory.
type Object interface {
	fs.File
	io.Seeker
}

// Init makes the directories.
func (d *Dir) Init() error {
	for _, dir := range []string{d.Videos, d.Pending} {
		if err := durable.Mkdir(dir, durable.DirMode); err != nil {
			return fmt.Errorf("media: %w", err)
		}
	}
	return nil
}

// Path is where a key's bytes are on this machine, for programs that want a file.
func (d *Dir) Path(key string) (string, error) {
	area, rest, _ := strings.Cut(key, "/")
	if rest == "" || !filepath.IsLocal(filepath.FromSlash(rest)) {
		return "", fmt.Errorf("media: %q is no key", key)
	}
	switch area {
	case "videos":
		return filepath.Join(d.Videos, filepath.FromSlash(rest)), nil
	case "pending":
		return filepath.Join(d.Pending, filepath.FromSlash(rest)), nil
	}
	return "", fmt.Errorf("media: %q is no key", key)
}

// Open opens the bytes under key for reading. A key with no bytes is fs.ErrNotExist.
func (d *Dir) Open(_ context.Context, key string) (Object, error) {
	path, err := d.Path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, notThere(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Stamp returns a text that differs between any two successive contents of key that WriteFile wrote: each is a file of
// its own. A key with no bytes is fs.ErrNotExist.
func (d *Dir) Stamp(_ context.Context, key string) (string, error) {
	path, err := d.Path(key)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", notThere(err)
	}
	return fmt.Sprintf("%x-%x-%x", info.ModTime().UnixNano(), info.Size(), fileNumber(info)), nil
}

// notThere makes fs.ErrNotExist of the other ways in which a system says that a name leads nowhere, such as a part of
// it that is a file and not a folder.
func notThere(err error) error {
	if isNotThere(err) {
		return fs.ErrNotExist
	}
	return err
}

// ReadFile returns all bytes under key. A key with no bytes is fs.ErrNotExist.
func (d *Dir) ReadFile(ctx context.Context, key string) ([]byte, error) {
	f, err := d.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// WriteFile replaces the bytes under key: readers see the old or the new ones, whole, and the new ones are on disk when
// it returns.
func (d *Dir) WriteFile(_ context.Context, key string, data []byte) error {
	path, err := d.Path(key)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, data, durable.FileMode)
}

// Adopt makes the file at path the bytes under key without copying it. The file must be on disk already; its new name
// is on disk when Adopt returns. It takes the same time for any size.
func (d *Dir) Adopt(_ context.Context, path, key string) error {
	to, err := d.Path(key)
	if err != nil {
		return err
	}
	if err := durable.Mkdir(filepath.Dir(to), durable.DirMode); err != nil {
		return err
	}
	return durable.Rename(path, to)
}

// Mark leaves the marker that the video wants work, with the upload that it comes from. It is on disk when Mark returns;
// marking twice is harmless.
func (d *Dir) Mark(_ context.Context, id vault.VideoID, from vault.UploadID) error {
	return durable.WriteFile(filepath.Join(d.Pending, string(id)), []byte(from), durable.FileMode)
}

// MarkedFrom returns the upload that a marker names; none if somebody has left an empty one by hand. A video without a
// marker is fs.ErrNotExist.
func (d *Dir) MarkedFrom(_ context.Context, id vault.VideoID) (vault.UploadID, error) {
	data, err := os.ReadFile(filepath.Join(d.Pending, string(id)))
	if err != nil {
		return "", notThere(err)
	}
	if len(data) == 0 {
		return "", nil
	}
	from, err := vault.ParseUploadID(string(data))
	if err != nil {
		return "", fmt.Errorf("media: the marker of video %s names no upload: %w", id, err)
	}
	return from, nil
}

// Unmark removes the marker. It is harmless when there is none.
func (d *Dir) Unmark(_ context.Context, id vault.VideoID) error {
	return durable.Remove(filepath.Join(d.Pending, string(id)))
}

// Marked returns the videos that want work, oldest first.
func (d *Dir) Marked(context.Context) ([]vault.VideoID, error) {
	entries, err := os.ReadDir(d.Pending)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	var ids []vault.VideoID
	for _, e := range entries {
		if id, err := vault.ParseVideoID(e.Name()); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Lock takes the lock on a video's folder, which every process that changes the folder holds while it does, and returns
// what gives it back. The system gives it back when the process dies; what that left half-written is removed by the next
// one to take the lock. A video without a folder is fs.ErrNotExist.
func (d *Dir) Lock(ctx context.Context, id vault.VideoID) (unlock func(), err error) {
	folder := filepath.Join(d.Videos, string(id))
	if _, err := os.Stat(folder); err != nil {
		return nil, notThere(err)
	}
	l := flock.New(folder, flock.SetFlag(os.O_RDONLY))
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		return nil, fmt.Errorf("media: lock video: %w", err)
	}
	// Nobody else is writing here.
	if _, err := durable.RemoveTemp(folder, time.Now().Add(time.Second)); err != nil {
		return nil, errors.Join(fmt.Errorf("media: lock video: %w", err), l.Close())
	}
	return func() { _ = l.Close() }, nil
}
