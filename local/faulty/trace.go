//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// where says how a call names its file.
type where int

const (
	byFD   where = iota // in its first argument
	byPath              // in its second, in a directory that is its first
)

// watched are the calls on files; what asks for nothing but memory of the kernel (lseek, fcntl) cannot fail.
var watched = map[uint64]struct {
	name string
	where
}{
	unix.SYS_OPENAT: {"openat", byPath}, unix.SYS_CLOSE: {"close", byFD},
	unix.SYS_READ: {"read", byFD}, unix.SYS_PREAD64: {"pread64", byFD}, unix.SYS_GETDENTS64: {"getdents64", byFD},
	unix.SYS_WRITE: {"write", byFD}, unix.SYS_PWRITE64: {"pwrite64", byFD}, unix.SYS_FTRUNCATE: {"ftruncate", byFD},
	unix.SYS_FSYNC: {"fsync", byFD}, unix.SYS_FDATASYNC: {"fdatasync", byFD}, unix.SYS_SYNC_FILE_RANGE: {"sync_file_range", byFD},
	unix.SYS_FCHMOD: {"fchmod", byFD}, unix.SYS_FLOCK: {"flock", byFD},
	unix.SYS_FSTAT: {"fstat", byFD}, unix.SYS_NEWFSTATAT: {"newfstatat", byPath},
	unix.SYS_MKDIRAT: {"mkdirat", byPath}, unix.SYS_UNLINKAT: {"unlinkat", byPath}, unix.SYS_RENAMEAT: {"renameat", byPath},
}

// thread is what is known of one of the program's.
type thread struct {
	heard  syscall.Errno // what it hears at the end of the call that it is in, if not 0
	failed bool          // its last call on a file was made to fail
}

// trace runs a program to its end and returns its exit status. All of ptrace is asked for by one thread of ours.
func trace(p *plan, command []string) (int, error) {
	runtime.LockOSThread()
	process, err := os.StartProcess("/proc/self/exe", append([]string{"faulty", filtered}, command...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Env: os.Environ(), Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return 0, err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(process.Pid, &status, 0, nil); err != nil { // it stops before its first instruction
		return 0, err
	}
	options := unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACESECCOMP
	if err := unix.PtraceSetOptions(process.Pid, options); err != nil {
		return 0, err
	}
	go forward(process)
	if err := unix.PtraceCont(process.Pid, 0); err != nil {
		return 0, err
	}
	threads := map[int]*thread{}
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case status.Exited() && tid == process.Pid:
			return status.ExitStatus(), nil
		case status.Signaled() && tid == process.Pid:
			return 128 + int(status.Signal()), nil
		case !status.Stopped():
			delete(threads, tid)
			continue
		}
		if threads[tid] == nil {
			threads[tid] = &thread{}
		}
		if err := threads[tid].goOn(p, tid, status); err != nil && !errors.Is(err, unix.ESRCH) { // it was killed meanwhile
			return 0, fmt.Errorf("thread %d: %w", tid, err)
		}
	}
}

// goOn lets a thread that has stopped go on.
func (t *thread) goOn(p *plan, tid int, status unix.WaitStatus) error {
	switch signal := status.StopSignal(); {
	case signal == unix.SIGTRAP && status.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
		if err := t.begin(p, tid); err != nil {
			return err
		}
	case signal == unix.SIGTRAP|0x80: // the end of a call
		if err := t.end(tid); err != nil {
			return err
		}
	case signal != unix.SIGTRAP && signal != unix.SIGSTOP: // which tell of new threads
		return unix.PtraceCont(tid, int(signal))
	}
	if t.heard != 0 {
		return unix.PtraceSyscall(tid, 0)
	}
	return unix.PtraceCont(tid, 0)
}

// begin decides on a call that is about to be made.
func (t *thread) begin(p *plan, tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	call := watched[regs.Orig_rax]
	file, err := fileOf(tid, call.where, &regs)
	if err != nil || !p.below(file) {
		return nil //nolint:nilerr // what has no name is no file of theirs
	}
	name := call.name
	if name == "openat" && regs.Rdx&unix.O_CREAT != 0 {
		name = "creat"
	}
	var f fault
	if f, t.failed = p.judge(name, file, t.failed); !t.failed {
		return nil
	}
	switch {
	case f.short:
		regs.Rdx = half(regs.Rdx)
	case f.made:
		t.heard = f.err
		return nil
	default:
		regs.Orig_rax, regs.Rax = ^uint64(0), -uint64(f.err) // no call has that number
	}
	return unix.PtraceSetRegs(tid, &regs)
}

// end has the thread hear of an error.
func (t *thread) end(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return err
	}
	regs.Rax, t.heard = -uint64(t.heard), 0
	return unix.PtraceSetRegs(tid, &regs)
}

// half is some of n bytes, in whole blocks where there are several: a write past the page cache has no others.
func half(n uint64) uint64 {
	const block = 4096
	if n >= 2*block {
		return n / 2 / block * block
	}
	return (n + 1) / 2
}

// fileOf returns the path of the file that a call is on.
func fileOf(tid int, by where, regs *unix.PtraceRegs) (string, error) {
	name := ""
	if by == byPath {
		text := make([]byte, 1024)
		local, remote := unix.Iovec{Base: &text[0], Len: uint64(len(text))}, unix.RemoteIovec{Base: uintptr(regs.Rsi), Len: len(text)}
		n, err := unix.ProcessVMReadv(tid, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
		if err != nil {
			return "", err
		}
		text, _, _ = bytes.Cut(text[:n], []byte{0})
		name = string(text)
	}
	if filepath.IsAbs(name) || int32(regs.Rdi) == unix.AT_FDCWD {
		return name, nil
	}
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(regs.Rdi)))
	return filepath.Join(dir, name), err
}
