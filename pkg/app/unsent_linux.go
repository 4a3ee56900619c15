package app

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes of what a connection was given its client has not acknowledged (tcp(7), SIOCOUTQ).
func unsent(c syscall.Conn) (bytes int64) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // it fails for a closed connection
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			bytes = int64(n)
		}
	})
	return bytes
}
