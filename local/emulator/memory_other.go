//go:build !linux

package emulator

// residentMemory is not measured here, and memory limits are not held.
func residentMemory(int) int64 { return 0 }
