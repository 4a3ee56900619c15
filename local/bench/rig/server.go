package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"pulsevault/pkg/freeport"
)

// Server is a PulseVault of our own, on a folder of its own.
type Server struct {
	URL     string
	cmd     *exec.Cmd
	output  *tail
	exited  chan struct{}
	waitErr error // valid once exited is closed
	mu      sync.Mutex
	peak    int64 // in KiB, sampled where /proc is not there
}

// Start starts a server in a folder, which it makes, and waits until it is ready. It has no settings but these, such as
// LOG_LEVEL=warn. It ends with ctx, at the latest.
func Start(ctx context.Context, binary, folder string, settings ...string) (*Server, error) {
	if err := os.Mkdir(folder, 0o750); err != nil {
		return nil, err
	}
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	s := &Server{URL: "http://" + address, output: &tail{}, exited: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, binary, "serve")
	s.cmd.Dir = folder // where there is no .env
	s.cmd.Env = append(Inherited("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "TEMP"), "HOST=127.0.0.1", "PORT="+port, "MEDIA_ROOT="+folder)
	s.cmd.Env = append(s.cmd.Env, settings...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	s.cmd.Cancel = func() error {
		if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
			return s.cmd.Process.Kill()
		}
		return nil
	}
	s.cmd.WaitDelay = 10 * time.Second // then it is killed
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	go func() {
		s.waitErr = s.cmd.Wait()
		close(s.exited)
	}()
	go s.samplePeak()
	if err := s.waitReady(ctx); err != nil {
		s.Stop()
		return nil, s.Explain(err)
	}
	return s, nil
}

// Explain adds to an error what the server said last.
func (s *Server) Explain(err error) error {
	return fmt.Errorf("%w; the server said: %s", err, s.output)
}

func (s *Server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("the server ended at once: %w", s.waitErr)
		case <-ctx.Done():
			return errors.New("the server does not become ready")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop ends the server, if need be by force, and returns when it is gone.
func (s *Server) Stop() {
	if err := s.cmd.Cancel(); err == nil {
		select {
		case <-s.exited:
			return
		case <-time.After(10 * time.Second):
		}
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// PeakMemory is the most that was ever resident, in bytes: as the kernel has it on Linux, else sampled.
func (s *Server) PeakMemory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.peak == 0 {
			return 0, errors.New("neither /proc nor ps tells the server's memory")
		}
		return s.peak << 10, nil
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc does not tell VmHWM")
}

func (s *Server) samplePeak() {
	pid := strconv.Itoa(s.cmd.Process.Pid)
	if _, err := os.Stat("/proc/" + pid + "/status"); err == nil {
		return
	}
	for {
		select {
		case <-s.exited:
			return
		case <-time.After(100 * time.Millisecond):
		}
		out, err := exec.Command("ps", "-o", "rss=", "-p", pid).Output()
		if err != nil {
			continue
		}
		if kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64); err == nil {
			s.mu.Lock()
			s.peak = max(s.peak, kib)
			s.mu.Unlock()
		}
	}
}

// CPU is the processor time that the server, and whatever it has started and waited for, took from start to end. It is known
// once the server has been stopped.
func (s *Server) CPU() time.Duration {
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// Running reports whether the server has not ended yet.
func (s *Server) Running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// PID is the server's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Inherited takes these variables over, and no setting of ours that may stand in the environment.
func Inherited(names ...string) []string {
	var env []string
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-4096):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}
