package backup

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/vault"
)

// maxLooks is how often a video, or an upload, is looked at that changes while it is copied.
const maxLooks = 20

// sight is a video as it stood at one moment.
type sight struct {
	files   []File           // those whose bytes stay as they are, without their hashes
	whole   map[string]whole // by key, what is replaced as a whole
	record  *vault.Video     // nil if there is none yet, or it is damaged
	from    vault.UploadID   // that it comes from, where that is known
	damaged error            // why the record cannot be read
}

type whole struct {
	data     []byte
	modified time.Time
}

// video takes a video, and reports whether there is one. What has neither a record nor a marker that names its upload is none:
// nobody hears of it, be it what a crash or what somebody paused has left.
func (t *taker) video(ctx context.Context, id vault.VideoID) (took bool, err error) {
	for range maxLooks {
		s, err := t.look(ctx, id)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		files, err := t.bringVideo(ctx, s)
		if errors.Is(err, fs.ErrNotExist) { // it was deleted, or left-overs of an attempt were
			if err := t.drop(media.VideoKey(id)); err != nil {
				return false, err
			}
			continue
		}
		if err != nil {
			return false, err
		}
		t.judge(id, s, files)
		t.taken[id] = s.from
		failpoint.Hit("backup/video")
		return true, t.note(files...)
	}
	return false, errors.New("its files change too often to be copied")
}

// look looks at a video under its lock, so that nothing of it changes meanwhile. The record is read before what it leads to all
// the same, for file systems that ignore locks.
func (t *taker) look(ctx context.Context, id vault.VideoID) (s sight, err error) {
	unlock, err := t.Locks.Lock(ctx, id)
	if err != nil {
		return s, err
	}
	defer unlock()
	s.whole = map[string]whole{}
	for _, key := range []string{media.MetaKey(id), media.PendingKey(id), media.HLSKey(id, media.MasterPlaylist)} {
		if err := t.readWhole(&s, key); err != nil {
			return s, err
		}
	}
	if err := t.identify(&s, id); err != nil {
		return s, err
	}
	if err := t.list(&s, id); err != nil {
		return s, err
	}
	if s.record == nil && s.damaged == nil && !s.has(media.OriginalKey(id)) {
		return s, fs.ErrNotExist // the bytes are still the upload's
	}
	return s, nil
}

func (s sight) has(key string) bool {
	return slices.ContainsFunc(s.files, func(f File) bool { return f.Path == key })
}

// list finds the files of a video that are not replaced as wholes.
func (t *taker) list(s *sight, id vault.VideoID) error {
	folder := filepath.Join(t.Store.Videos, string(id))
	return filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(folder, path)
		switch {
		case err != nil || rest == ".":
			return err
		case strings.HasPrefix(e.Name(), "."): // work in progress
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular():
			return nil
		}
		key := media.VideoKey(id) + "/" + filepath.ToSlash(rest)
		if key == media.MetaKey(id) || key == media.HLSKey(id, media.MasterPlaylist) {
			return nil
		}
		info, err := e.Info()
		if err == nil {
			s.files = append(s.files, File{Path: key, Size: info.Size(), Modified: info.ModTime()})
		}
		return err
	})
}

// readWhole reads what is replaced as a whole, if it is there.
func (t *taker) readWhole(s *sight, key string) error {
	path, err := t.Store.path(key)
	if err != nil {
		return err
	}
	data, at, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	s.whole[key] = whole{data, at}
	return err
}

// identify finds out which upload a video comes from. While it has no record, that upload's is part of what is seen: later it
// may say that all is done, which is not true of a video that was seen without its record. Without either it is no video.
func (t *taker) identify(s *sight, id vault.VideoID) error {
	if meta, ok := s.whole[media.MetaKey(id)]; ok {
		v, err := metadata.Unmarshal(meta.data)
		if err == nil {
			s.record, s.from = &v, v.UploadID
		}
		s.damaged = err
		return nil
	}
	from, err := vault.ParseUploadID(string(s.whole[media.PendingKey(id)].data))
	if err != nil {
		return fs.ErrNotExist
	}
	s.from = from
	return t.readWhole(s, recordKey(from))
}

// bringVideo brings in all files of a video.
func (t *taker) bringVideo(ctx context.Context, s sight) (files []File, err error) {
	for _, f := range s.files {
		path, err := t.Store.path(f.Path)
		if err != nil {
			return nil, err
		}
		f, err := t.copy(ctx, f.Path, path, f.Size, f.Modified)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	// A file taken from an earlier snapshot shows nothing of whether the video is still there.
	// The keys below videos/ come last in their order and so first: a video's lines stand together.
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(s.whole))) {
		f, err := t.put(ctx, key, s.whole[key].data, s.whole[key].modified)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// judge tells what is wrong with a video that was taken.
func (t *taker) judge(id vault.VideoID, s sight, files []File) {
	if s.damaged != nil {
		t.problem("video %s: %v", id, s.damaged)
	}
	if s.record == nil {
		if from := s.from; from != "" {
			_, brought := s.whole[recordKey(from)]
			t.brought[from] = brought
		}
		return
	}
	for _, f := range files {
		if f.Path != media.OriginalKey(id) {
			continue
		}
		if f.Size != s.record.OriginalSize || f.SHA256 != s.record.OriginalChecksum {
			t.problem("video %s: the original has %d bytes and the SHA-256 %s, its record says %d and %s", id, f.Size, f.SHA256, s.record.OriginalSize, s.record.OriginalChecksum)
		}
		return
	}
	t.problem("video %s: it has a record and no original", id)
}

// recordKey is the key of an upload's record.
func recordKey(id vault.UploadID) string { return "uploads/" + string(id) + ".json" }

// exists reports whether there is a file.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
