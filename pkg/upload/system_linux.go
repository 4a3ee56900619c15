package upload

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// freeBytes is how much an ordinary user may still write to the file system that holds dir.
func freeBytes(dir string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * st.Bsize, true
}

func isQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }

// syncData forces a file's bytes and its length to disk.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// startWriteback asks the system to begin writing a range to disk, so that the sync at the end finds little to do. It is
// only a hint: nothing is durable by it.
func startWriteback(f *os.File, offset, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}
