package emulator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	initTimeout   = 10 * time.Second // Lambda's own
	stopPatience  = 2 * time.Second
	sampleEvery   = 50 * time.Millisecond
	maxLogLine    = 256 << 10 // Lambda cuts there
	accountNumber = "000000000000"
)

// process is one running instance of a function.
type process struct {
	function Function
	cmd      *exec.Cmd
	api      *runtimeAPI
	server   *http.Server
	gone     chan struct{}
	init     time.Duration // how long it took to ask for its first invocation
	fresh    bool          // has had no invocation
	peak     atomic.Int64  // bytes of memory, of it and what it has started
	overrun  atomic.Bool   // ended by us, for taking more memory than it has
	used     atomic.Int64  // how often it was given back
}

// startProcess starts an instance and waits until it is ready for its first event.
func (p *pool) startProcess(ctx context.Context) (*process, error) {
	began := time.Now()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start function %s: %w", p.function.Name, err)
	}
	gone := make(chan struct{})
	s := &process{function: p.function, api: newRuntimeAPI(gone), gone: gone, fresh: true}
	s.server = &http.Server{Handler: s.api, ReadHeaderTimeout: initTimeout}
	go func() { _ = s.server.Serve(listener) }() // until it is closed
	if err := s.start(p, listener.Addr().String()); err != nil {
		_ = s.server.Close()
		return nil, fmt.Errorf("start function %s (make build): %w", p.function.Name, err)
	}
	select {
	case <-s.api.ready:
		s.init = time.Since(began)
		return s, nil
	case <-s.gone:
		return nil, fmt.Errorf("function %s ended before it was ready: %s", p.function.Name, s.ending())
	case <-time.After(initTimeout):
		s.stop(0)
		return nil, fmt.Errorf("function %s was not ready within %v", p.function.Name, initTimeout)
	case <-ctx.Done():
		s.stop(0)
		return nil, ctx.Err()
	}
}

func (s *process) start(p *pool, runtimeAddress string) error {
	path, err := filepath.Abs(filepath.Join(p.config.Dir, p.function.Name, "bootstrap"))
	if err != nil {
		return err
	}
	s.cmd = exec.Command(path)
	s.cmd.Dir = filepath.Dir(path)
	s.cmd.Env = environment(p.config.Env, p.function, runtimeAddress, s.cmd.Dir)
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	s.cmd.Stdout, s.cmd.Stderr = writer, writer
	err = s.cmd.Start()
	_ = writer.Close()
	if err != nil {
		_ = reader.Close()
		return err
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		copyLines(p.config.Log, p.function.Name, reader)
	}()
	go s.watchMemory()
	go func() {
		_ = s.cmd.Wait() // what it says is in ProcessState
		select {
		case <-printed:
		case <-time.After(time.Second): // something that it has started holds on to its output
		}
		close(s.gone)
		_ = s.server.Close()
		_ = reader.Close()
	}()
	return nil
}

// environment is what the template sets, overridden by ours, and what Lambda sets.
func environment(own []string, f Function, runtimeAddress, dir string) []string {
	var env []string
	for name, value := range f.Environment {
		env = append(env, name+"="+value)
	}
	return append(append(env, own...),
		"AWS_LAMBDA_RUNTIME_API="+runtimeAddress,
		"AWS_LAMBDA_FUNCTION_NAME="+f.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE="+strconv.FormatInt(f.MemorySize>>20, 10),
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/"+f.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=emulator",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"LAMBDA_TASK_ROOT="+dir,
		"_HANDLER=bootstrap",
		"TZ=:UTC",
	)
}

// copyLines writes each line whole, with the name of the function, among those of others.
func copyLines(to io.Writer, name string, from io.Reader) {
	lines := bufio.NewReaderSize(from, maxLogLine)
	for {
		line, _, err := lines.ReadLine()
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(to, "[%s] %s\n", name, line)
	}
}

// hand gives the process an invocation, and reports false if it ends without asking for one: after an answer some do.
func (s *process) hand(i *invocation) bool {
	select {
	case s.api.next <- i:
		return true
	case <-s.gone:
		return false
	case <-time.After(s.function.Timeout): // it hangs
		s.stop(0)
		return false
	}
}

// await waits for what comes of an invocation. ok is false if the process is of no further use.
func (s *process) await(i *invocation) (o outcome, ok bool) {
	timeout := time.NewTimer(time.Until(i.deadline))
	defer timeout.Stop()
	s.fresh = false
	select {
	case o := <-i.outcome:
		return o, true
	case <-s.gone:
		select {
		case o := <-i.outcome: // it has answered, and then ended
			return o, false
		default:
			return s.crashed(i), false
		}
	case <-timeout.C:
		return s.timedOut(i), false
	}
}

func (s *process) crashed(i *invocation) outcome {
	kind := "Runtime.ExitError"
	if s.overrun.Load() {
		kind = "Runtime.OutOfMemory"
	}
	return failure(kind, fmt.Sprintf("RequestId: %s Error: Runtime exited with error: %s", i.id, s.ending()))
}

func (s *process) timedOut(i *invocation) outcome {
	s.stop(0)
	return failure("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", i.id, s.function.Timeout.Seconds()))
}

// ending says how the process ended.
func (s *process) ending() string {
	<-s.gone
	return s.cmd.ProcessState.String()
}

func (s *process) alive() bool {
	select {
	case <-s.gone:
		return false
	default:
		return true
	}
}

// stop ends the process, in order if it can do that in time.
func (s *process) stop(patience time.Duration) {
	if patience > 0 && s.cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-s.gone:
			return
		case <-time.After(patience):
		}
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return
	}
	<-s.gone
}

// watchMemory notes how much memory the process has at most, and ends it when that is more than it may have.
func (s *process) watchMemory() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		s.sampleMemory()
		select {
		case <-tick.C:
		case <-s.gone:
			return
		}
	}
}

func (s *process) sampleMemory() {
	now := ResidentMemory(s.cmd.Process.Pid)
	if now > s.peak.Load() {
		s.peak.Store(now)
	}
	if now > s.function.MemorySize {
		s.overrun.Store(true)
		_ = s.cmd.Process.Kill() // or it has ended
	}
}
