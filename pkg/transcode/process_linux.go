package transcode

import (
	"errors"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxMemory bounds the address space of one ffmpeg, in bytes.
const maxMemory = 12 << 30

// dieWithParent has the kernel kill the child when the thread that starts it ends, be it by kill -9.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
}

func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// bound limits what a running child may take.
func bound(pid int, cpu time.Duration) error {
	seconds := uint64(cpu/time.Second) + 1
	for resource, limit := range map[int]unix.Rlimit{
		unix.RLIMIT_AS:   {Cur: maxMemory, Max: maxMemory},
		unix.RLIMIT_CPU:  {Cur: seconds, Max: seconds},
		unix.RLIMIT_CORE: {},
	} {
		err := unix.Prlimit(pid, resource, &limit, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EPERM) { // it has ended already; we are bound tighter, and so is it
			return err
		}
	}
	return nil
}
