//go:build unix && !linux

package transcode

import (
	"os/exec"
	"syscall"
	"time"
)

// dieWithParent puts the child into a process group of its own, to be killed with all it started. Only Linux has a child
// die with its parent: after a kill -9 of the worker an ffmpeg runs on to its end here, into a work folder that nobody
// publishes and the next attempt removes.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// bound does nothing: no limits can be set on a running child here.
func bound(int, time.Duration) error { return nil }
