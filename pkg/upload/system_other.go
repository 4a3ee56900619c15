//go:build !linux

package upload

import "os"

func freeBytes(string) (int64, bool) { return 0, false }

func isQuota(error) bool { return false }

func syncData(f *os.File) error { return f.Sync() }

func startWriteback(*os.File, int64, int64) {}

func openDirect(string) *os.File { return nil }

func newBlock(size int64) []byte { return make([]byte, size) }

func aligned([]byte) bool { return false }
