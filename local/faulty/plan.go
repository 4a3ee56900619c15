//go:build linux && amd64

package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// plan is which calls are to fail.
type plan struct {
	root string

	mu     sync.Mutex
	calls  []string       // since take
	counts map[string]int // of calls since arm
	how    string         // nothing fails if empty
	call   string         // the one to fail; empty for all
	nth    int
	filled string // the path on which the next write has no more room
	struck int
}

func (p *plan) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

func (p *plan) arm(how, call string, nth int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.how, p.call, p.nth, p.struck, p.filled = how, call, nth, 0, ""
	p.counts = map[string]int{}
}

func (p *plan) hits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

// fault is what becomes of one call.
type fault struct {
	err   syscall.Errno // what the program hears; none if 0
	made  bool          // it is made all the same
	short bool          // with half of the bytes
}

// judge says what is to become of a call. spared is whether the same thread's last one was made to fail.
func (p *plan) judge(name, file string, spared bool) (f fault, fails bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := name + " " + p.known(file)
	p.calls = append(p.calls, call)
	p.counts[call]++
	writes := name == "write" || name == "pwrite64"
	switch {
	case p.filled == file && writes:
		p.filled = ""
		return fault{err: syscall.ENOSPC}, true
	case p.how == "", p.call != "" && (p.call != call || p.counts[call] != p.nth), p.call == "" && spared:
		return fault{}, false
	}
	switch p.how {
	case "EIO":
		f.err = syscall.EIO
	case "ENOSPC":
		f.err = syscall.ENOSPC
	case "EINTR":
		f.err = syscall.EINTR
		if !slices.Contains(interrupted, name) {
			return fault{}, false
		}
	case "undone":
		f.err, f.made = syscall.EIO, true
	case "full", "short":
		if !writes {
			return fault{}, false
		}
		f.made, f.short = true, true
		if p.how == "full" {
			p.filled = file
		}
	}
	p.struck++
	return f, true
}

// interrupted are the calls that some file systems let a signal interrupt although its handler asks for calls to be begun
// again (SA_RESTART), as those of Go do. It is not for close, which must not be tried again, nor for flock, which waits in
// the kernel, where it is begun again.
var interrupted = []string{"openat", "creat", "read", "pread64", "write", "pwrite64", "fsync", "fdatasync", "ftruncate",
	"fstat", "newfstatat", "mkdirat", "renameat", "unlinkat", "fchmod", "getdents64"}

var (
	anID     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aDate    = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}`)
	anEnding = regexp.MustCompile(`(\.tmp-.*-)[0-9]+`)
)

// known is what a path is in every run.
func (p *plan) known(file string) string {
	name := path.Clean(strings.TrimPrefix(strings.TrimPrefix(file, p.root), "/"))
	name = anID.ReplaceAllString(name, "ID")
	name = aDate.ReplaceAllString(name, "DATE")
	return anEnding.ReplaceAllString(name, "${1}N")
}

// below reports whether a path is one that is watched.
func (p *plan) below(file string) bool { return file == p.root || strings.HasPrefix(file, p.root+"/") }
