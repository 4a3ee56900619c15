//go:build !linux

package emulator

// ResidentMemory is not measured here, and memory limits are not held.
func ResidentMemory(int) int64 { return 0 }
