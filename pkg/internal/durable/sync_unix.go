//go:build unix

package durable

import (
	"errors"
	"os"
)

// SyncDir forces the names in a directory to disk.
func SyncDir(dir string) error {
	if dir == "" {
		dir = "."
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
