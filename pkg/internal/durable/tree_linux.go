package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// SyncTree forces everything to disk that was written below a directory. Here that is one call, syncfs, for all of its file
// system; it tells of writes that have failed since Linux 5.8.
func SyncTree(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd()))), d.Close())
}
