package backup

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

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Source is a store, with what of it only its stages know.
type Source struct {
	Store Store
	// Locks keeps everybody else from changing a video, which is fs.ErrNotExist if it has no folder: a media.Dir.
	Locks interface {
		Lock(ctx context.Context, id vault.VideoID) (unlock func(), err error)
	}
	// Checksum returns the lower-case hex SHA-256 that an upload's record says the bytes before its offset have.
	Checksum func(u vault.Upload) (string, error)
	// Undone returns what says that a video is to be removed, as one that has yet to be carried out.
	Undone func(intent []byte) ([]byte, error)
}

// Options say how a snapshot is taken.
type Options struct {
	Program, AuditKey string // for the header
	Fresh             bool   // takes nothing from earlier snapshots
	Keep              int    // how many snapshots there are to be afterwards at most; 0 for any number
	Now               func() time.Time
}

// Snapshot is a finished one.
type Snapshot struct {
	Header
	Summary
	Folder string
	Digest string // SHA-256 of the manifest, in hex
}

// taker takes one snapshot.
type taker struct {
	Source
	*draft
	taken   map[vault.VideoID]vault.UploadID // the videos that are in it, and the uploads that they come from, where known
	brought map[vault.UploadID]bool          // uploads whose records came with their videos
}

// Take takes a snapshot into a destination. If it fails, or its process is killed, what was brought in so far stays there for the
// next run. Problems of the store, such as a damaged record, are told in the summary: the snapshot is whole all the same.
func (s Source) Take(ctx context.Context, destination string, o Options) (Snapshot, error) {
	if err := s.apart(destination); err != nil {
		return Snapshot{}, err
	}
	began := o.Now().UTC()
	d, err := begin(destination, Header{Format: format, Name: began.Format(nameForm), Began: began, Program: o.Program, AuditKey: o.AuditKey}, o.Fresh)
	if err != nil {
		return Snapshot{}, fmt.Errorf("backup: %w", err)
	}
	t := &taker{s, d, map[vault.VideoID]vault.UploadID{}, map[vault.UploadID]bool{}}
	done := Snapshot{Header: d.header, Folder: filepath.Join(destination, d.header.Name)}
	for _, step := range []func(context.Context) error{t.videos, t.uploads, t.keys, t.recheck, t.log, t.deletions} {
		if err == nil {
			err = step(ctx)
		}
	}
	if err == nil {
		done.Digest, err = d.finish(o.Now)
	}
	done.Summary = d.summary
	if err == nil {
		err = d.tidy(o.Keep)
	}
	if err = errors.Join(err, d.close()); err != nil {
		return done, fmt.Errorf("backup: %w", err)
	}
	return done, nil
}

// apart refuses a destination within the store, which would grow by itself, and one around it.
func (s Source) apart(destination string) error {
	for _, folder := range s.Store.areas() {
		for _, pair := range [][2]string{{folder, destination}, {destination, folder}} {
			outer, err := filepath.Abs(pair[0])
			inner, err2 := filepath.Abs(pair[1])
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if rest, err := filepath.Rel(outer, inner); err == nil && filepath.IsLocal(rest) {
				return fmt.Errorf("backup: %s and the store's %s lie within one another: choose a folder elsewhere, best on another disk", destination, folder)
			}
		}
	}
	return nil
}

// videos takes every video that there is.
func (t *taker) videos(ctx context.Context) error {
	entries, err := os.ReadDir(t.Store.Videos)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, err := vault.ParseVideoID(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		if _, err := t.video(ctx, id); err != nil {
			return fmt.Errorf("video %s: %w", id, err)
		}
	}
	return nil
}

// keys takes the hashes of API keys.
func (t *taker) keys(ctx context.Context) error {
	return t.small(ctx, t.Store.Auth, "auth/", func(data []byte) ([]byte, error) { return data, nil })
}

// small takes the files of a folder that are replaced as wholes.
func (t *taker) small(ctx context.Context, folder, prefix string, change func(data []byte) ([]byte, error)) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || durable.IsTemp(e.Name()) {
			continue
		}
		data, modified, err := read(filepath.Join(folder, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			data, err = change(data)
		}
		if err == nil {
			err = t.bring(ctx, prefix+e.Name(), data, modified)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bring puts bytes under a key and notes that.
func (t *taker) bring(ctx context.Context, key string, data []byte, modified time.Time) error {
	f, err := t.put(ctx, key, data, modified)
	if err != nil {
		return err
	}
	return t.note(f)
}

// read reads a file that is replaced as a whole.
func read(path string) (data []byte, modified time.Time, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, modified, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, modified, err
	}
	data, err = io.ReadAll(f)
	return data, info.ModTime(), err
}

// recheck drops the videos that were deleted meanwhile. It comes before the audit log, which then tells of that, and of those
// that are deleted later, too: the sweep of the restored store removes them.
func (t *taker) recheck(ctx context.Context) error {
	for id, from := range t.taken {
		if _, err := os.Stat(filepath.Join(t.Store.Videos, string(id))); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := t.drop(media.VideoKey(id)); err != nil {
			return err
		}
		if err := t.drop(media.PendingKey(id)); err != nil {
			return err
		}
		delete(t.taken, id)
		if from == "" {
			continue
		}
		if err := t.drop(recordKey(from)); err != nil {
			return err
		}
		if err := t.upload(ctx, from); err != nil { // what is left of it
			return err
		}
	}
	return nil
}

// log takes a cut of the audit log.
func (t *taker) log(ctx context.Context) error {
	cut, err := audit.Cut(ctx, t.Store.Audit)
	if err != nil {
		return err
	}
	for _, e := range cut {
		key := "audit/" + e.Name
		if e.Data != nil {
			err = t.bring(ctx, key, e.Data, e.Modified)
		} else {
			var f File
			if f, err = t.copy(ctx, key, filepath.Join(t.Store.Audit, filepath.FromSlash(e.Name)), e.Size, e.Modified); err == nil {
				err = t.note(f)
			}
		}
		if err != nil {
			return err
		}
	}
	failpoint.Hit("backup/audit")
	return nil
}

// deletions takes what says that videos are to be removed, or were within the last hour. The latter are still to be removed of
// the copy, if they are in it.
func (t *taker) deletions(ctx context.Context) error {
	return t.small(ctx, filepath.Join(t.Store.Pending, "deletions"), media.DeletionPrefix, t.Undone)
}
