package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pulsevault/pkg/internal/durable"
)

func TestWriteFileReplacesWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "record")
	for _, content := range []string{"first", "a longer second one", "3"} {
		if err := durable.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Fatalf("%q, %v; want %q", got, err, content)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestFailedWriteLeavesTheOldContentAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "inside"), 0o700); err != nil { // a rename onto it fails
		t.Fatal(err)
	}
	if err := durable.WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if err := durable.WriteFile(filepath.Join(dir, "none", "x"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a directory that is not there: %v", err)
	}
}

func TestCreateOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "record")
	if err := durable.Create(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(path, []byte("second"), 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second one: %v", err)
	}
	info, err := os.Stat(path)
	if got, _ := os.ReadFile(path); err != nil || string(got) != "first" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", got, info, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestRepeatsAreHarmless(t *testing.T) {
	dir := t.TempDir()
	deep, file := filepath.Join(dir, "a", "b", "c"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Mkdir(file, 0o750); err == nil {
		t.Error("Mkdir is content with a file")
	}
	for range 2 {
		if err := errors.Join(durable.Mkdir(deep, 0o750), durable.Remove(file)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemoveTempLeavesTheRest(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	for name, written := range map[string]time.Time{".tmp-old": old, ".tmp-new": time.Now(), "old": old} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, written, written)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := durable.RemoveTemp(dir, time.Now().Add(-time.Minute)); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left: %v", entries)
	}
	if n, err := durable.RemoveTemp(filepath.Join(dir, "none"), time.Now()); n != 0 || err != nil {
		t.Errorf("no directory: %d, %v", n, err)
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "sub", "to")
	if err := errors.Join(os.WriteFile(from, []byte("x"), 0o600), durable.Mkdir(filepath.Dir(to), 0o750), durable.Rename(from, to)); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if err := durable.Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renaming what is not there: %v", err)
	}
}

func TestTempFilesAreKnown(t *testing.T) {
	for name, temp := range map[string]bool{".tmp-meta.json-123": true, "meta.json": false, "tmp": false} {
		if durable.IsTemp(name) != temp {
			t.Errorf("IsTemp(%q) = %v", name, !temp)
		}
	}
}
