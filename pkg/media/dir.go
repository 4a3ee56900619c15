package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
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
	Auth    string // where the keys below auth/ live; nowhere if it is empty
}

// lockPoll is how often a waiting Lock looks again.
const lockPoll = 5 * time.Millisecond

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
	folder, local := d.area(area), filepath.FromSlash(rest)
	if folder == "" || rest == "" || !filepath.IsLocal(local) {
		return "", fmt.Errorf("media: %q is no key", key)
	}
	return folder + string(filepath.Separator) + local, nil // filepath.Join would look through all of it once more, per request
}

// area is the directory of the keys that begin with name; empty if there is none.
func (d *Dir) area(name string) string {
	switch name {
	case "videos":
		return d.Videos
	case "pending":
		return d.Pending
	case "auth":
		return d.Auth
	}
	return ""
}

// Open opens a file.
func (d *Dir) Open(_ context.Context, key string) (Object, error) {
	f, info, err := d.open(key)
	if err != nil {
		return nil, err
	}
	return &dirFile{f, info}, nil
}

// dirFile is an open file that was looked at when it was opened.
type dirFile struct {
	*os.File
	info fs.FileInfo
}

// Stat returns what the file was when it was opened, which media that are served remain.
func (f *dirFile) Stat() (fs.FileInfo, error) { return f.info, nil }

func (d *Dir) open(key string) (*os.File, fs.FileInfo, error) {
	path, err := d.Path(key)
	if err != nil {
		return nil, nil, err
	}
	f, err := openFile(path)
	if err != nil {
		return nil, nil, d.notThere(key, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// notThere makes fs.ErrNotExist of the other ways in which a system says that a name leads nowhere, such as a part of
// it that is a file and not a folder.
func notThere(err error) error {
	if isNotThere(err) {
		return fs.ErrNotExist
	}
	return err
}

// version differs between any two successive contents that Write wrote: each is a file of its own.
func version(info fs.FileInfo) string {
	b := strconv.AppendInt(make([]byte, 0, 48), info.ModTime().UnixNano(), 16)
	b = strconv.AppendInt(append(b, '-'), info.Size(), 16)
	return string(strconv.AppendUint(append(b, '-'), fileNumber(info), 16))
}

// Stat looks at the file only, not at its bytes.
func (d *Dir) Stat(_ context.Context, key string) (fs.FileInfo, error) {
	path, err := d.Path(key)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, d.notThere(key, err)
	}
	return info, nil
}

// Stamp is made of what Stat says.
func (d *Dir) Stamp(ctx context.Context, key string) (string, error) {
	info, err := d.Stat(ctx, key)
	if err != nil {
		return "", err
	}
	return version(info), nil
}

// notThere is what it means that a key cannot be found. A folder for auth/ that is gone is no folder without keys: its volume
// may not be mounted.
func (d *Dir) notThere(key string, err error) error {
	if err = notThere(err); errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(key, "auth/") {
		if _, folder := os.Stat(d.Auth); folder != nil {
			return vault.Errorf(vault.Unavailable, "media_unavailable", "what is kept here cannot be reached; try again").Because(errors.New(folder.Error())) // which is not fs.ErrNotExist to callers
		}
	}
	return err
}

// Read reads a whole file.
func (d *Dir) Read(_ context.Context, key string) ([]byte, string, error) {
	f, info, err := d.open(key)
	if err != nil {
		return nil, "", err
	}
	data, err := io.ReadAll(f)
	return data, version(info), errors.Join(err, f.Close())
}

// Write compares the version of a file and then replaces it, which is one step only for who holds the video's Lock. Of a
// file below auth/ it is always one.
func (d *Dir) Write(ctx context.Context, key string, data []byte, ifVersion string) (string, error) {
	path, err := d.Path(key)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(key, "auth/") {
		l := flock.New(d.Auth, flock.SetFlag(os.O_RDONLY))
		if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
			return "", fmt.Errorf("media: lock %s: %w", d.Auth, err)
		}
		defer func() { _ = l.Close() }()
	}
	if ifVersion != Any {
		now, err := d.Stamp(ctx, key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if now != ifVersion {
			return "", errChanged()
		}
	}
	err = durable.WriteFile(path, data, durable.FileMode)
	if errors.Is(err, fs.ErrNotExist) {
		if err = durable.Mkdir(filepath.Dir(path), durable.DirMode); err == nil {
			err = durable.WriteFile(path, data, durable.FileMode)
		}
	}
	if err != nil {
		return "", err
	}
	return d.Stamp(ctx, key)
}

// Import renames files. They must be on the file system of the directory.
func (d *Dir) Import(_ context.Context, files map[string]string) error {
	to, from := map[string]bool{}, map[string]bool{}
	for key, path := range files {
		target, err := d.Path(key)
		if err != nil {
			return err
		}
		if err := durable.Mkdir(filepath.Dir(target), durable.DirMode); err != nil {
			return err
		}
		if err := os.Rename(path, target); err != nil {
			return err
		}
		to[filepath.Dir(target)], from[filepath.Dir(path)] = true, true
	}
	// First where the files are now: they must not be gone from both.
	return errors.Join(syncDirs(to), syncDirs(from))
}

func syncDirs(folders map[string]bool) error {
	for folder := range folders {
		if err := durable.SyncDir(folder); err != nil && !isNotThere(err) {
			return err
		}
	}
	return nil
}

// List reads a folder.
func (d *Dir) List(_ context.Context, prefix string) ([]string, error) {
	slash := strings.LastIndexByte(prefix, '/') + 1
	folder, err := d.Path(prefix[:slash] + ".")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil && !isNotThere(err) {
		return nil, fmt.Errorf("media: %w", err)
	}
	var keys []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix[slash:]) && e.Type().IsRegular() && !durable.IsTemp(e.Name()) {
			keys = append(keys, prefix[:slash]+e.Name())
		}
	}
	return keys, nil
}

// Delete removes files, and, of work in progress, the folder that had nothing else in it.
func (d *Dir) Delete(_ context.Context, keys ...string) error {
	folders := map[string]bool{}
	for _, key := range keys {
		path, err := d.Path(key)
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !isNotThere(err) {
			return err
		}
		folders[filepath.Dir(path)] = true
	}
	for folder := range folders {
		if strings.HasPrefix(filepath.Base(folder), ".") && os.Remove(folder) == nil {
			delete(folders, folder)
			folders[filepath.Dir(folder)] = true
		}
	}
	return syncDirs(folders)
}

// Local returns the file itself.
func (d *Dir) Local(_ context.Context, key string) (path string, release func(), err error) {
	path, err = d.Path(key)
	return path, func() {}, err
}

// Scratch returns a folder inside the video's, so that what is made there can be renamed into its place. The name begins
// with a dot.
func (d *Dir) Scratch(id vault.VideoID, name string) (string, error) {
	return filepath.Join(d.Videos, string(id), name), nil
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
