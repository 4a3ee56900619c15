package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/vault"
)

// maxProblems bounds how many problems are told one by one.
const maxProblems = 100

// Findings are what is wrong with a snapshot, or with what was restored of one.
type Findings struct {
	Problems []string
	More     int // that are not among them
}

func (f *Findings) add(format string, args ...any) {
	if len(f.Problems) == maxProblems {
		f.More++
		return
	}
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

// Verify reads all bytes of a snapshot and holds them against its manifest, and the records in it against the bytes that they
// speak of. checksum is that of a Source. The error says that it could not do its work, or that the manifest is not whole.
func Verify(ctx context.Context, folder string, checksum func(vault.Upload) (string, error)) (Snapshot, Findings, error) {
	store := below(filepath.Join(folder, mediaFolder))
	s, found, err := compare(ctx, folder, store, checksum)
	if err != nil {
		return s, found, fmt.Errorf("verify %s: %w", folder, err)
	}
	there, err := count(store)
	if err == nil && there > s.Files {
		found.add("%d files are there that the manifest does not name: they are no part of the snapshot", there-s.Files)
	}
	return s, found, err
}

// count counts the files of a store.
func count(s Store) (n int64, err error) {
	for _, folder := range s.areas() {
		err := filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				n++
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
	}
	return n, nil
}

// compare holds what lies in a store against a snapshot's manifest.
func compare(ctx context.Context, folder string, store Store, checksum func(vault.Upload) (string, error)) (s Snapshot, found Findings, err error) {
	s.Folder = folder
	w := witness{store: store, checksum: checksum, found: &found}
	s.Header, s.Summary, err = readManifest(folder, func(f File) error {
		path, err := store.path(f.Path)
		if err != nil {
			return err
		}
		sum, size, err := hashOf(ctx, path)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			found.add("%s is missing", f.Path)
		case err != nil:
			found.add("%s cannot be read: %v", f.Path, err)
		case size != f.Size:
			found.add("%s has %d bytes, the manifest says %d", f.Path, size, f.Size)
		case sum != f.SHA256:
			found.add("%s is damaged: its SHA-256 is %s, the manifest says %s", f.Path, sum, f.SHA256)
		default:
			w.see(f, path)
		}
		return nil
	})
	if err == nil {
		s.Digest, _, err = hashOf(ctx, filepath.Join(folder, manifestName))
	}
	return s, found, err
}

// witness holds records against the bytes that they speak of, which come before them in a manifest.
type witness struct {
	store    Store
	checksum func(vault.Upload) (string, error)
	found    *Findings
	last     File // original, or bytes of an upload
}

func (w *witness) see(f File, file string) {
	area, rest, _ := strings.Cut(f.Path, "/")
	switch {
	case area == "videos" && path.Base(rest) == "original.mp4", area == "uploads" && !strings.HasSuffix(rest, ".json"):
		w.last = f
	case area == "videos" && path.Base(rest) == "meta.json":
		w.video(f, file)
	case area == "uploads":
		w.upload(f, file)
	}
}

func (w *witness) video(f File, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		w.found.add("%s cannot be read: %v", f.Path, err)
		return
	}
	v, err := metadata.Unmarshal(data)
	switch {
	case err != nil:
		w.found.add("%s: %v", f.Path, err)
	case media.MetaKey(v.VideoID) != f.Path:
		w.found.add("%s is the record of video %s", f.Path, v.VideoID)
	case w.last.Path != media.OriginalKey(v.VideoID):
		w.found.add("%s speaks of an original, and there is none", f.Path)
	case w.last.SHA256 != v.OriginalChecksum || w.last.Size != v.OriginalSize:
		w.found.add("%s is not what %s says: SHA-256 %s", w.last.Path, f.Path, v.OriginalChecksum)
	}
}

func (w *witness) upload(f File, file string) {
	var u vault.Upload
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &u)
	}
	if err != nil || recordKey(u.UploadID) != f.Path {
		w.found.add("%s is no record: %v", f.Path, err)
		return
	}
	if w.last.Path == "uploads/"+string(u.UploadID) {
		if sum, err := w.checksum(u); err != nil || sum != w.last.SHA256 || w.last.Size != u.Offset {
			w.found.add("%s is not what its record says: %d bytes, SHA-256 %s %v", w.last.Path, u.Offset, sum, err)
		}
		return
	}
	if u.Deleted {
		return
	}
	for _, place := range []string{
		filepath.Join(w.store.Videos, string(u.VideoID), "original.mp4"),
		filepath.Join(w.store.Pending, "deletions", string(u.VideoID)), // it was being deleted; the sweep will say so in the record
	} {
		if ok, err := exists(place); ok || err != nil {
			if err != nil {
				w.found.add("%s: %v", f.Path, err)
			}
			return
		}
	}
	w.found.add("%s speaks of %d bytes, which are neither there nor a video", f.Path, u.Offset)
}
