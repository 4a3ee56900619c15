package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/vault"
)

// restoringName is a file in MEDIA_ROOT while a restore is not finished. It says of which snapshot.
const restoringName = ".restoring"

type restoring struct {
	Snapshot string `json:"snapshot"`
	Digest   string `json:"digest"`
}

// Unfinished returns the name of the snapshot of which root holds a part only, "" if no restore was cut off there.
func Unfinished(root string) (name string, err error) {
	r, err := readRestoring(root)
	return r.Snapshot, err
}

func readRestoring(root string) (r restoring, err error) {
	data, err := os.ReadFile(filepath.Join(root, restoringName))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// Target is where a snapshot is brought back to.
type Target struct {
	Root     string // MEDIA_ROOT
	Store    Store  // nothing may be there
	Checksum func(vault.Upload) (string, error)
	Partly   bool // is content with what of a damaged snapshot is whole
	// Record is told of the store once all of it is there.
	Record func(ctx context.Context, s Snapshot) error
}

// Restore brings the snapshot in a folder back. Nothing may be there, unless it is what an earlier Restore of the same snapshot
// was killed over: it goes on with that. When it returns without an error or a finding, all files of the manifest are there and
// on disk, and were read back. Until then a file in Root keeps servers from working on a part of a store. What is damaged in
// the snapshot is left out, and is among the findings as missing.
func (t Target) Restore(ctx context.Context, folder string) (s Snapshot, found Findings, err error) {
	s.Folder = folder
	s.Header, s.Summary, err = readManifest(folder, func(File) error { return nil }) // all of it, before anything is written
	if err == nil {
		s.Digest, _, err = hashOf(ctx, filepath.Join(folder, manifestName))
	}
	if err == nil {
		err = t.prepare(s)
	}
	if err == nil {
		_, _, err = readManifest(folder, func(f File) error { return t.bring(ctx, folder, f) })
	}
	for _, area := range t.Store.areas() {
		if err == nil {
			err = durable.SyncTree(area)
		}
	}
	failpoint.Hit("restore/copied")
	if err == nil {
		s, found, err = compare(ctx, folder, t.Store, t.Checksum)
	}
	if err == nil && (len(found.Problems) == 0 || t.Partly) {
		if err = t.Record(ctx, s); err == nil {
			failpoint.Hit("restore/recorded")
			err = durable.Remove(filepath.Join(t.Root, restoringName))
		}
	}
	if err != nil {
		err = fmt.Errorf("restore: %w", err)
	}
	return s, found, err
}

// prepare makes the folders, which must be empty, and leaves the mark that they are not whole.
func (t Target) prepare(s Snapshot) error {
	r, err := readRestoring(t.Root)
	if err != nil {
		return err
	}
	if r.Digest != "" && r.Digest != s.Digest {
		return fmt.Errorf("%s holds a part of the snapshot %s: restore that, or empty the folder", t.Root, r.Snapshot)
	}
	for name, area := range t.Store.areas() {
		entries, err := os.ReadDir(area)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 && r.Digest == "" {
			return fmt.Errorf("%s, where %s belong, is not empty: a snapshot is brought back into empty folders only", area, name)
		}
	}
	data, err := json.Marshal(restoring{s.Name, s.Digest})
	if err != nil {
		return err
	}
	if err := durable.Mkdir(t.Root, durable.DirMode); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(t.Root, restoringName), data, durable.FileMode); err != nil {
		return err
	}
	for _, area := range t.Store.areas() {
		if err := durable.Mkdir(area, durable.DirMode); err != nil {
			return err
		}
	}
	return nil
}

// bring copies a file, unless it is there. What is not what the manifest says is left out.
func (t Target) bring(ctx context.Context, folder string, f File) error {
	from, err := below(filepath.Join(folder, mediaFolder)).path(f.Path)
	if err != nil {
		return err
	}
	to, err := t.Store.path(f.Path)
	if err != nil {
		return err
	}
	if info, err := os.Stat(to); err == nil && info.Size() == f.Size {
		if sum, _, err := hashOf(ctx, to); err == nil && sum == f.SHA256 {
			return nil
		}
	}
	if err := durable.Mkdir(filepath.Dir(to), durable.DirMode); err != nil {
		return err
	}
	src, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()                                       // nothing was written
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) { // a part of it, of a restore that was killed
		return err
	}
	sum, err := write(ctx, to, src, f, durable.FileMode)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && sum != f.SHA256 {
		err = os.Remove(to)
	}
	failpoint.Hit("restore/file")
	return err
}
