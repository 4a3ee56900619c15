package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
)

const (
	journalName = "journal"
	// keptMode keeps an editor from changing in all snapshots what it opened in one.
	keptMode fs.FileMode = 0o440
)

// draft is a snapshot that is being taken. Its journal has a line for each file that is there, as the manifest will.
type draft struct {
	destination, folder string
	header              Header
	store               Store // the copy
	file                *os.File
	journal             *lines
	bases               []*base
	dropped             map[string]int64 // keys and groups that no longer count, where they stand before this in the journal
	summary             Summary
	unlinked            bool // links are not to be had there
	lock                *flock.Flock
}

// begin makes the folder of a snapshot. fresh takes nothing from earlier ones.
func begin(destination string, h Header, fresh bool) (d *draft, err error) {
	if err := durable.Mkdir(destination, durable.DirMode); err != nil {
		return nil, fmt.Errorf("the destination %s cannot be made: %w", destination, err)
	}
	lock := flock.New(filepath.Join(destination, lockName), flock.SetPermissions(0o600))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("another backup into %s is running", destination), err)
	}
	d = &draft{destination: destination, header: h, lock: lock, dropped: map[string]int64{}}
	if err := complete(destination); err != nil {
		return nil, errors.Join(err, d.close())
	}
	if !fresh {
		if err := d.findBases(); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	d.folder = filepath.Join(destination, unfinishedPrefix+h.Name)
	d.store = below(filepath.Join(d.folder, mediaFolder))
	for _, folder := range d.store.areas() {
		if err := os.MkdirAll(folder, durable.DirMode); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	d.file, err = os.OpenFile(filepath.Join(d.folder, journalName), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.journal = newLines(d.file)
	failpoint.Hit("backup/begun")
	return d, d.journal.write(h)
}

// complete gives its name to what was killed between its manifest and its name.
func complete(destination string) error {
	whole, err := filepath.Glob(filepath.Join(destination, unfinishedPrefix+"*", manifestName)) // the pattern is good
	for _, path := range whole {
		folder := filepath.Dir(path)
		name := strings.TrimPrefix(filepath.Base(folder), unfinishedPrefix)
		err = errors.Join(err, durable.Remove(filepath.Join(folder, journalName)), durable.Rename(folder, filepath.Join(destination, name)))
	}
	return err
}

// findBases opens what was cut off, in which more may be new, and then the newest snapshot.
func (d *draft) findBases() error {
	cut, err := filepath.Glob(filepath.Join(d.destination, unfinishedPrefix+"*")) // the pattern is good
	names, listErr := Snapshots(d.destination)
	if err = errors.Join(err, listErr); err != nil {
		return err
	}
	for _, folder := range cut {
		b, err := openBase(folder, journalName, false)
		if err == nil {
			d.bases = append(d.bases, b)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(names) > 0 {
		b, err := openBase(filepath.Join(d.destination, names[len(names)-1]), manifestName, true)
		if err != nil {
			return err
		}
		d.bases = append(d.bases, b)
	}
	return nil
}

// close gives everything back. What is not finished stays for the next run.
func (d *draft) close() error {
	for _, b := range d.bases {
		b.close()
	}
	if d.file != nil {
		_ = d.file.Close() // what was not written there is taken anew
	}
	return d.lock.Close()
}

// copy brings in the first bytes of a file that nobody changes. It is in the snapshot once its line is in the journal.
func (d *draft) copy(ctx context.Context, key, from string, size int64, modified time.Time) (File, error) {
	f := File{Path: key, Size: size, Modified: modified.UTC()}
	to, err := d.place(key)
	if err != nil {
		return f, err
	}
	linked, err := d.link(ctx, &f, to, func(earlier File) bool { return earlier.Modified.Equal(f.Modified) })
	if linked || err != nil {
		return f, err
	}
	src, err := os.Open(from)
	if err != nil {
		return f, err
	}
	defer func() { _ = src.Close() }() // nothing was written
	f.SHA256, err = write(ctx, to, io.LimitReader(src, size), f, keptMode)
	d.summary.Copied += size
	return f, err
}

// put brings in bytes that were read already.
func (d *draft) put(ctx context.Context, key string, data []byte, modified time.Time) (File, error) {
	sum := sha256.Sum256(data)
	f := File{Path: key, Size: int64(len(data)), Modified: modified.UTC(), SHA256: hex.EncodeToString(sum[:])}
	to, err := d.place(key)
	if err != nil {
		return f, err
	}
	want := f.SHA256
	linked, err := d.link(ctx, &f, to, func(earlier File) bool { return earlier.SHA256 == want })
	if linked || err != nil {
		return f, err
	}
	_, err = write(ctx, to, bytes.NewReader(data), f, keptMode)
	d.summary.Copied += f.Size
	return f, err
}

// place makes room for a key.
func (d *draft) place(key string) (string, error) {
	to, err := d.store.path(key)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), durable.DirMode)
	}
	if err != nil {
		return "", err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return to, nil
}

// link takes a file from an earlier snapshot, if there is the same one, and tells its hash. Of one that was cut off the bytes
// are looked at, since nobody has vouched for them.
func (d *draft) link(ctx context.Context, f *File, to string, same func(earlier File) bool) (linked bool, err error) {
	for _, b := range d.bases {
		earlier, ok, err := b.find(f.Path)
		if err != nil {
			return false, err
		}
		if !ok || d.unlinked || earlier.Size != f.Size || !same(earlier) {
			continue
		}
		switch err := os.Link(filepath.Join(b.media, filepath.FromSlash(f.Path)), to); {
		case errors.Is(err, fs.ErrNotExist): // somebody has removed it there
			continue
		case err != nil:
			d.unlinked = true // exFAT and the like: every snapshot has bytes of its own
			continue
		}
		if b.proven {
			f.SHA256 = earlier.SHA256
			return true, nil
		}
		if sum, size, err := hashOf(ctx, to); err == nil && sum == earlier.SHA256 && size == f.Size {
			f.SHA256 = sum
			return true, nil
		}
		if err := os.Remove(to); err != nil {
			return false, err
		}
	}
	return false, nil
}

// write makes a file of what r gives, with the time that f says. It is io.ErrUnexpectedEOF if that is not as much as f says.
func write(ctx context.Context, to string, r io.Reader, f File, mode fs.FileMode) (sum string, err error) {
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), ending{ctx, r})
	if err == nil && n != f.Size {
		err = fmt.Errorf("%s has %d bytes, not %d: %w", f.Path, n, f.Size, io.ErrUnexpectedEOF)
	}
	if err == nil {
		err = dst.Chmod(mode)
	}
	if err = errors.Join(err, dst.Close()); err == nil {
		err = os.Chtimes(to, f.Modified, f.Modified)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// ending reads until ctx ends.
type ending struct {
	ctx context.Context
	r   io.Reader
}

func (e ending) Read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	return e.r.Read(p)
}

func hashOf(ctx context.Context, path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(h, ending{ctx, f})
	return hex.EncodeToString(h.Sum(nil)), size, errors.Join(err, f.Close())
}

// note puts files into the journal.
func (d *draft) note(files ...File) error {
	for _, f := range files {
		if err := d.journal.write(f); err != nil {
			return err
		}
	}
	return d.journal.to.Flush()
}

// drop takes out what was brought in under a key, or of a video.
func (d *draft) drop(name string) error {
	path, err := d.store.path(name)
	if err != nil {
		return err
	}
	d.dropped[name] = d.journal.at
	return os.RemoveAll(path)
}

// problem is something that is wrong in the store, of which the snapshot is a true copy all the same.
func (d *draft) problem(format string, args ...any) {
	d.summary.Problems = append(d.summary.Problems, fmt.Sprintf(format, args...))
}

// finish writes the manifest once all is on disk, and gives the snapshot its name. It returns the SHA-256 of the manifest.
func (d *draft) finish(now func() time.Time) (digest string, err error) {
	if err := durable.SyncTree(d.folder); err != nil {
		return "", fmt.Errorf("sync the snapshot: %w", err)
	}
	failpoint.Hit("backup/copied")
	temp := filepath.Join(d.folder, manifestName+".new")
	digest, err = d.writeManifest(temp, now)
	if err == nil {
		err = durable.Rename(temp, filepath.Join(d.folder, manifestName))
	}
	failpoint.Hit("backup/listed")
	if err == nil {
		err = os.Remove(filepath.Join(d.folder, journalName))
	}
	if err == nil {
		err = durable.Rename(d.folder, filepath.Join(d.destination, d.header.Name))
	}
	return digest, err
}

func (d *draft) writeManifest(path string, now func() time.Time) (digest string, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, keptMode)
	if err != nil {
		return "", err
	}
	out := newLines(f)
	err = out.write(d.header)
	journal := base{lines: d.file}
	readErr := journal.read(0, func(file File, at int64) bool {
		if at < d.dropped[file.Path] || at < d.dropped[group(file.Path)] {
			return true
		}
		d.summary.Files++
		d.summary.Bytes += file.Size
		switch {
		case strings.HasPrefix(file.Path, "videos/") && strings.HasSuffix(file.Path, "/meta.json"):
			d.summary.Videos++
		case strings.HasPrefix(file.Path, "uploads/") && strings.HasSuffix(file.Path, ".json"):
			d.summary.Uploads++
		}
		err = out.write(file)
		return err == nil
	})
	d.summary.SHA256, d.summary.Ended = out.hash(), now().UTC()
	err = errors.Join(err, readErr)
	if err == nil {
		err = out.write(d.summary)
	}
	if err == nil {
		err = out.to.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return out.hash(), errors.Join(err, f.Close())
}

// tidy removes what was cut off before this, and all but the newest snapshots, if keep is not 0.
func (d *draft) tidy(keep int) error {
	names, err := Snapshots(d.destination)
	if err != nil {
		return err
	}
	for len(names) > keep && keep > 0 {
		// Without its manifest it is no snapshot any more, however far the removing comes.
		if err := durable.Remove(filepath.Join(d.destination, names[0], manifestName)); err != nil {
			return err
		}
		names = names[1:]
	}
	entries, err := os.ReadDir(d.destination)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ours := isName.MatchString(e.Name()) || strings.HasPrefix(e.Name(), unfinishedPrefix)
		if !e.IsDir() || !ours || slices.Contains(names, e.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.destination, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
