package upload

import (
	"errors"
	"os"
	"unsafe"

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
func syncData(f *os.File) error {
	for {
		// os has no fdatasync, which it would begin again after a signal.
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// startWriteback asks the system to begin writing a range to disk, so that the sync at the end finds little to do. It is
// only a hint: nothing is durable by it.
func startWriteback(f *os.File, offset, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}

// openDirect opens a file for writes that bypass the page cache, nil where the file system cannot do it.
func openDirect(path string) *os.File {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	return f
}

// newBlock returns a block that may be written past the page cache, or a shorter buffer.
func newBlock(size int64) []byte {
	if size < blockSize {
		return make([]byte, size)
	}
	b := make([]byte, size+alignment)
	skip := (alignment - address(b)%alignment) % alignment
	return b[skip : int64(skip)+size : int64(skip)+size]
}

func aligned(b []byte) bool { return address(b)%alignment == 0 }

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
