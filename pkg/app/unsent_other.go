//go:build !linux

package app

import "syscall"

// unsent is not known here. A client then takes what the system takes for it, which is by larger steps than it reads.
func unsent(syscall.Conn) int64 { return 0 }
