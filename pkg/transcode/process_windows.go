package transcode

import (
	"os/exec"
	"time"
)

// dieWithParent does nothing: an ffmpeg outlives a worker that is killed, in a work folder that nobody publishes.
func dieWithParent(*exec.Cmd) {}

// bound does nothing: no limits can be set on a running child here.
func bound(int, time.Duration) error { return nil }
