package emulator

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// ResidentMemory is how many bytes of memory a process and what it has started hold; 0 if it is gone.
func ResidentMemory(pid int) int64 {
	total := ownMemory(pid)
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		children, _ := os.ReadFile(path)
		for _, field := range bytes.Fields(children) {
			if child, err := strconv.Atoi(string(field)); err == nil {
				total += ResidentMemory(child)
			}
		}
	}
	return total
}

func ownMemory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // in pages: size resident shared …
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
