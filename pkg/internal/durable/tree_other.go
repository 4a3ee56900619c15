//go:build !linux

package durable

import (
	"io/fs"
	"path/filepath"
)

// SyncTree forces everything to disk that was written below a directory, file by file.
func SyncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return SyncDir(path)
		}
		return SyncFile(path)
	})
}
