//go:build !linux

package upload

import "os"

func freeBytes(string) (int64, bool) { return 0, false }

func isQuota(error) bool { return false }

func syncData(f *os.File) error { return f.Sync() }

func startWriteback(*os.File, int64, int64) {}
