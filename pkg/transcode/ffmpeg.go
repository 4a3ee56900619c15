package transcode

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	probeTimeout = time.Minute
	// stallTimeout is how long ffmpeg may run without getting any further.
	stallTimeout = time.Minute
	stderrKept   = 4 << 10
	outputKept   = 8 << 20
)

// runner starts ffmpeg's programs on files that nobody has vetted. They die with this process, are bound in memory and
// processor time, inherit no descriptors, and see nothing of our environment but the path to programs.
type runner struct {
	env []string
}

// failure is a run that ended badly.
type failure struct {
	program string
	stderr  string
	err     error
	stalled bool
	overran bool // it has taken more processor time than it may
}

func (f *failure) Error() string {
	if f.stalled {
		return f.program + " made no progress and was ended: " + f.stderr
	}
	return fmt.Sprintf("%s: %v: %s", f.program, f.err, f.stderr)
}

func (f *failure) Unwrap() error { return f.err }

// fromOutside reports whether the run was ended by a signal or for want of something that the machine lacked: another try may go well.
func (f *failure) fromOutside() bool {
	var exit *exec.ExitError
	if f.overran {
		return false
	}
	if f.stalled || !errors.As(f.err, &exit) || exit.ExitCode() < 0 {
		return true
	}
	return f.shortage() != ""
}

// shortage says in words for people what the machine lacked, as far as ffmpeg tells.
func (f *failure) shortage() string {
	for _, s := range []struct{ sign, means string }{
		{"No space left on device", "the disk was full"},
		{"Disk quota exceeded", "the disk was full"},
		{"Cannot allocate memory", "there was not enough memory"},
		{"Resource temporarily unavailable", "the server was too busy"},
		{"Too many open files", "the server was too busy"},
		{"Input/output error", "the disk could not be read or written"},
		{"Unknown encoder", "the ffmpeg here lacks an encoder"},
		{"No such filter", "the ffmpeg here lacks a filter"},
	} {
		if strings.Contains(f.stderr, s.sign) {
			return s.means
		}
	}
	return ""
}

// output runs a program to its end and returns what it wrote to its standard output.
func (r runner) output(ctx context.Context, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out := capped{limit: outputKept}
	err := r.run(ctx, command{program: program, args: args, stdout: &out, cpu: probeTimeout})
	return out.Bytes(), err
}

type command struct {
	program string
	args    []string
	dir     string
	stdout  io.Writer
	cpu     time.Duration // processor time it may take
}

// run runs a program to its end, or kills it when ctx ends.
func (r runner) run(ctx context.Context, c command) error {
	cmd := exec.CommandContext(ctx, c.program, c.args...)
	stderr := &tail{}
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, r.env, c.stdout, stderr
	cmd.WaitDelay = 5 * time.Second
	dieWithParent(cmd)
	// The kernel ties "die with the parent" to the thread that started the child: it must live as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.program, err)
	}
	if err := bound(cmd.Process.Pid, c.cpu); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("bound %s: %w", c.program, err)
	}
	err := cmd.Wait()
	switch {
	case err == nil && strings.Contains(stderr.String(), "No space left on device"):
		// hls goes on with the next segment when one could not be written.
		return &failure{program: c.program, stderr: stderr.String(), err: errors.New("not everything was written")}
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errStalled):
		return &failure{program: c.program, stderr: stderr.String(), stalled: true, err: err}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return &failure{program: c.program, stderr: stderr.String(), err: err, overran: used >= c.cpu}
}

var errStalled = errors.New("no progress")

// limits bound a run of ffmpeg.
type limits struct {
	stall time.Duration // without getting any further
	cpu   time.Duration // of processor time
}

// encode runs ffmpeg in dir and tells report how many seconds of output there are.
func (r runner) encode(ctx context.Context, dir string, args []string, l limits, report func(seconds float64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(l.stall, func() { cancel(errStalled) })
	defer stall.Stop()
	reader, writer := io.Pipe()
	var last float64
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(reader)
		for lines.Scan() {
			value, ok := strings.CutPrefix(lines.Text(), "out_time_us=")
			micros, err := strconv.ParseInt(value, 10, 64)
			if now := float64(micros) / 1e6; ok && err == nil && now > last {
				last = now
				stall.Reset(l.stall)
				report(now)
			}
		}
		_, _ = io.Copy(io.Discard, reader)
	})
	full := append([]string{"-nostdin", "-hide_banner", "-v", "error", "-y", "-progress", "pipe:1", "-stats_period", "0.5"}, args...)
	err := r.run(ctx, command{program: "ffmpeg", args: full, dir: dir, stdout: writer, cpu: l.cpu})
	_ = writer.Close()
	reading.Wait()
	return err
}

// capped keeps what is written to it, and refuses more than there can be.
type capped struct {
	bytes.Buffer
	limit int
}

func (c *capped) Write(b []byte) (int, error) {
	if c.Len()+len(b) > c.limit {
		return 0, errors.New("more output than there can be")
	}
	return c.Buffer.Write(b)
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if extra := len(t.kept) - stderrKept; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(b), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.kept)) }
