package monitoring_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/local/bench/rig"
	"pulsevault/pkg/freeport"
)

// binary is pulsevault.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pulsevault-monitoring-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "pulsevault")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "../pulsevault")
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

// program is one that runs until the test ends, and what it has logged.
type program struct {
	tag  string // of its container, as Docker would have it
	exit chan struct{}

	mu    sync.Mutex
	lines []logged
}

type logged struct {
	stream, text string
	at           time.Time
}

// start runs a program in a folder of its own, with no environment but this.
func start(t *testing.T, tag string, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{tag: tag, exit: make(chan struct{})}
	cmd := exec.Command(name, args...)
	cmd.Dir = t.TempDir() // where no .env is
	cmd.Env = append(rig.Inherited("PATH", "TMPDIR"), env...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.read("stdout", stdout) })
	readers.Go(func() { p.read("stderr", stderr) })
	go func() {
		readers.Wait()
		_ = cmd.Wait()
		close(p.exit)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // nginx ends its workers then
		select {
		case <-p.exit:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-p.exit
		}
		if t.Failed() {
			t.Logf("%s said last:\n%s", tag, p.last(30))
		}
	})
	return p
}

func (p *program) read(stream string, from io.Reader) {
	s := bufio.NewScanner(from)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, logged{stream, s.Text(), time.Now()})
		p.mu.Unlock()
	}
}

func (p *program) said() []logged {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]logged(nil), p.lines...)
}

func (p *program) last(n int) string {
	var text strings.Builder
	lines := p.said()
	for _, l := range lines[max(0, len(lines)-n):] {
		text.WriteString(l.text + "\n")
	}
	return text.String()
}

// await waits until something is so, and fails the test where it does not come to that.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1200 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s: it does not come to that", what)
}

// awaitAnswer waits until an address of a program answers 200.
func (p *program) awaitAnswer(t *testing.T, url string) {
	t.Helper()
	await(t, url+" answers", func() bool {
		select {
		case <-p.exit:
			t.Fatalf("%s has ended:\n%s", p.tag, p.last(30))
		default:
		}
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func installed(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
