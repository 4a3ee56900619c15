//go:build !linux

package transcode

import (
	"os/exec"
	"time"
)

// dieWithParent does nothing: only Linux can do it. After a kill -9 of the worker an ffmpeg runs on to its end here, into
// a work folder that the next attempt removes.
func dieWithParent(*exec.Cmd) {}

// bound does nothing: no limits can be set on a running child here.
func bound(int, time.Duration) error { return nil }
