package main

import (
	"os"
	"syscall"
)

// peakMemory is what an ended process held at most, in bytes; 0 if that is not known.
func peakMemory(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10 // getrusage(2): in KiB
	}
	return 0
}
