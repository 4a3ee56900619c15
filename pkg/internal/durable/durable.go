// Package durable makes changes to a directory that are whole and on disk when the call returns.
//
// What each call asks of the system, so that it can be checked against a trace:
//
//	WriteFile  open(temp, O_EXCL) write fsync close rename(temp, path) fsync(dir)
//	Create     open(temp, O_EXCL) write fsync close link(temp, path) unlink(temp) fsync(dir)
//	Mkdir      mkdir fsync(parent), for each level that was missing
//	Rename     rename fsync(new dir) fsync(old dir, if another)
//	Remove     unlink fsync(dir)
//
// A crash at any point leaves either the old or the new state under path. A temporary file that a crash leaves behind
// matches IsTemp.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Modes of everything kept: patients' data is nobody else's to read.
const (
	DirMode  fs.FileMode = 0o750
	FileMode fs.FileMode = 0o640
)

const tempPrefix = ".tmp-"

// IsTemp reports whether name is that of a temporary file of this package.
func IsTemp(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// RemoveTemp removes the temporary files in dir that were last written before a time, and returns how many there were.
// They are litter, not harm: it is no error that there is no dir.
func RemoveTemp(dir string, before time.Time) (removed int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, e := range entries {
		if !IsTemp(e.Name()) {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) && os.Remove(filepath.Join(dir, e.Name())) == nil {
			removed++
		}
	}
	return removed, nil
}

// WriteFile replaces the content of path with data.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(dir, tempPrefix+base+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", base, err)
	}
	err = writeSynced(f, data, mode)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", base, err)
	}
	return SyncDir(dir)
}

// Create makes the file path with data. The error is fs.ErrExist if there is one already, which stays as it is.
func Create(path string, data []byte, mode fs.FileMode) error {
	dir, base := filepath.Split(path)
	f, err := os.CreateTemp(dir, tempPrefix+base+"-*")
	if err != nil {
		return fmt.Errorf("create %s: %w", base, err)
	}
	err = writeSynced(f, data, mode)
	if err == nil {
		err = os.Link(f.Name(), path) // of several, one succeeds
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return fmt.Errorf("create %s: %w", base, err)
	}
	return SyncDir(dir)
}

func writeSynced(f *os.File, data []byte, mode fs.FileMode) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Mkdir makes sure that the directory path is there, with its parents.
func Mkdir(path string, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("there is a file of that name")}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := Mkdir(parent, mode); err != nil {
			return err
		}
	}
	made := os.Mkdir(path, mode)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return made
	}
	err := SyncDir(parent)
	if err != nil && made == nil {
		_ = os.Remove(path) // or the next one would find it there and not sync its name
	}
	return err
}

// Rename moves a file or directory, within one file system.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

// Remove deletes a file. It is no error that it was gone.
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncFile forces what has been written to the file at path to disk.
func SyncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
