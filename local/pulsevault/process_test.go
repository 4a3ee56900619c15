package main_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is pulsevault, built with its failpoints.
var binary string

// idlers is how many tests go on at a time beyond one for each processor: they wait for other processes, and for the ten
// seconds after which a task that failed is tried again.
const idlers = 2

func TestMain(m *testing.M) {
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+idlers)) // which is a number
	}
	dir, err := os.MkdirTemp("", "pulsevault-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "pulsevault")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "failpoint", "-o", binary, ".")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	code := 1
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build pulsevault:", err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience is how long a test waits for what must happen by itself. It ends only what hangs: a machine may be as slow as it likes.
const patience = 10 * time.Minute

// beforeTheSweep is how long a test waits where nobody may have to help: the sweep, each minute, and those who take over a lease
// that has run out would make good what is looked for.
const beforeTheSweep = 30 * time.Second

// comesTrue waits for something and reports whether it has come.
func comesTrue(is func() bool) bool { return comesTrueWithin(patience, is) }

func comesTrueWithin(most time.Duration, is func() bool) bool {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}

// process is a running pulsevault.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string // of a server
	exit chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// start runs a command of pulsevault on a media directory, with settings given as NAME=value.
func start(t *testing.T, command, root string, settings ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, command)
	if command == "emulate" {
		cmd.Args = append(cmd.Args, hosting(t)...)
	}
	return startCommand(t, cmd, command, root, settings...)
}

// startCommand starts a command that is, or runs, one of pulsevault.
func startCommand(t *testing.T, cmd *exec.Cmd, command, root string, settings ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, exit: make(chan struct{})}
	p.cmd.Dir = t.TempDir() // where no .env is
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "MEDIA_ROOT=" + root, "PORT=0"}, settings...)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exit
		if t.Failed() {
			t.Logf("%s said:\n%s", command, p.said())
		}
	})
	lines := make(chan string, 100)
	var readers sync.WaitGroup
	readers.Go(func() { p.read(bufio.NewScanner(stdout), lines) })
	readers.Go(func() { p.read(bufio.NewScanner(stderr), nil) })
	go func() {
		readers.Wait()
		_ = p.cmd.Wait()
		close(p.exit)
	}()
	if command == "serve" || command == "emulate" {
		p.url = p.awaitURL(lines)
	}
	return p
}

func (p *process) read(s *bufio.Scanner, lines chan<- string) {
	for s.Scan() {
		p.mu.Lock()
		p.log.WriteString(s.Text() + "\n")
		p.mu.Unlock()
		if lines != nil && len(lines) < cap(lines) {
			lines <- s.Text()
		}
	}
}

var servingOn = regexp.MustCompile(`is serving on http://localhost:([0-9]+)`)

func (p *process) awaitURL(lines <-chan string) string {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case line := <-lines:
			if m := servingOn.FindStringSubmatch(line); m != nil {
				return "http://127.0.0.1:" + m[1]
			}
		case <-p.exit:
			p.t.Fatalf("the server ended before it served:\n%s", p.said())
		case <-deadline:
			p.t.Fatalf("the server does not serve:\n%s", p.said())
		}
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// kill ends the process as a power cut does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exit
}

// stop ends the process in order, and fails the test if it does not.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.exit:
	case <-time.After(patience):
		p.t.Fatal("it does not stop")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("it stopped with exit status %d:\n%s", code, p.said())
	}
}

// ended reports whether the process has ended by itself within a time.
func (p *process) ended(within time.Duration) bool {
	select {
	case <-p.exit:
		return true
	case <-time.After(within):
		return false
	}
}

// run runs a command of pulsevault to its end and returns its exit status and what it printed.
func run(t *testing.T, root string, settings []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "MEDIA_ROOT=" + root, "PORT=0"}, settings...)
	out, err := cmd.CombinedOutput()
	if err != nil && (cmd.ProcessState == nil || ctx.Err() != nil) {
		t.Fatalf("pulsevault %s: %v, %v\n%s", strings.Join(args, " "), err, ctx.Err(), out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// wantNoOrphans fails the test if an ffmpeg still works on something under root.
func wantNoOrphans(t *testing.T, root string) {
	t.Helper()
	var found string
	gone := comesTrueWithin(beforeTheSweep, func() bool {
		found = ""
		paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range paths {
			args, err := os.ReadFile(path)
			if err == nil && bytes.HasPrefix(args, []byte("ff")) && bytes.Contains(args, []byte(root)) {
				found = strings.ReplaceAll(string(args), "\x00", " ")
			}
		}
		return found == ""
	})
	if !gone {
		t.Errorf("an orphan is left: %s", found)
	}
}
