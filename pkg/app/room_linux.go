package app

import "golang.org/x/sys/unix"

// room is the size of the file system that holds a directory, and how much of it an ordinary user may still write.
func room(dir string) (size, free int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, true
}
