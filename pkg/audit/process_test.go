package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/audit"
)

// TestMain lets the test binary play an appending process: it says how many entries were acknowledged, line by line.
func TestMain(m *testing.M) {
	if dir := os.Getenv("AUDIT_TEST_DIR"); dir != "" {
		if err := child(dir, os.Getenv("AUDIT_TEST_ENTRIES")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const childCallers = 4

// child appends and notes in turn from several goroutines, n entries each.
func child(dir, entries string) error {
	n, err := strconv.Atoi(entries)
	if err != nil {
		return err
	}
	l, err := audit.Open(audit.Config{Dir: dir})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	errs := make(chan error, childCallers)
	for range childCallers {
		go func() {
			for i := range n {
				add := l.Append
				if i%4 > 0 {
					add = l.Note
				}
				if err := add(context.Background(), audit.Access, event(i)); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println("ok")
				mu.Unlock()
			}
			errs <- nil
		}()
	}
	for range childCallers {
		if err := <-errs; err != nil {
			return err
		}
	}
	return l.Close()
}

func command(t *testing.T, dir string, entries int) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "AUDIT_TEST_DIR="+dir, fmt.Sprint("AUDIT_TEST_ENTRIES=", entries))
	cmd.Stderr = os.Stderr
	return cmd
}

// While several processes with several goroutines append, Verify never sees anything wrong; in the end all is there.
func TestManyProcessesOneChain(t *testing.T) {
	dir := t.TempDir()
	const processes, each, mine = 3, 100, 150
	l := open(t, audit.Config{Dir: dir})
	var wg sync.WaitGroup
	for range processes {
		cmd := command(t, dir, each)
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("child: %v", err)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for i := range mine {
				if err := l.Note(context.Background(), audit.Access, event(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	looks := 0
	for running := true; running; looks++ {
		select {
		case <-done:
			running = false
		default:
		}
		if r := verify(t, dir, nil); !r.OK() || bytes.Contains([]byte(r.String()), []byte("torn")) {
			t.Fatalf("look %d, beside living appenders:\n%s", looks, r)
		}
	}
	closeLog(t, l)
	r := wantWhole(t, dir, processes*childCallers*each+4*mine)
	for _, n := range r.Notes {
		t.Errorf("note: %s", n)
	}
	t.Logf("%d looks", looks)
}

// A process killed in the middle of its work loses nothing that it was told is written, and the log goes on.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for round := range 8 {
		cmd := command(t, dir, 1_000_000)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if lines.Text() == "ok" {
				acknowledged++
			}
			if n == 100+37*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		if r := verify(t, dir, nil); !r.OK() || entries(r) < acknowledged {
			t.Fatalf("round %d, %d acknowledged:\n%s", round, acknowledged, r)
		}
	}
	l := open(t, audit.Config{Dir: dir})
	appendN(t, l, 1)
	closeLog(t, l)
	if r := verify(t, dir, nil); !r.OK() || entries(r) < acknowledged+1 {
		t.Errorf("%d acknowledged:\n%s", acknowledged+1, r)
	}
}

// Whatever a crash leaves of the last line is moved aside, told of, and never called tampering.
func TestTornLine(t *testing.T) {
	whole := []byte(`{"v":1,"seq":6,"eventId":"x","timestamp":`)
	for name, torn := range map[string][]byte{
		"half a line":    whole,
		"one byte":       whole[:1],
		"zeros":          make([]byte, 5000),
		"a whole line's": []byte("garbage\n"),
		"binary":         {0xff, 0xfe, 0},
	} {
		for _, living := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s living=%v", name, living), func(t *testing.T) {
				dir := t.TempDir()
				l := open(t, audit.Config{Dir: dir})
				appendN(t, l, 5)
				if !living {
					closeLog(t, l)
				}
				file := logFile(t, dir)
				before := read(t, file)
				write(t, append(bytes.Clone(before), torn...), file)
				if r := verify(t, dir, nil); !bytes.HasSuffix(torn, []byte("\n")) {
					wantNote(t, r, "torn: "+fmt.Sprint(len(torn))+" bytes")
					wantWhole(t, dir, 5)
				} else {
					wantFinding(t, r, ":6: ")
				}
				if !living {
					l = open(t, audit.Config{Dir: dir})
				}
				appendN(t, l, 2)
				closeLog(t, l)
				r := wantWhole(t, dir, 8)
				wantNote(t, r, fmt.Sprintf(":6: torn line: a crash left %d bytes", len(torn)))
				aside := fmt.Sprintf("torn/%s-%d.bin", strings.TrimSuffix(file[len(dir)+1:], ".log"), len(before))
				if got := read(t, dir, aside); !bytes.Equal(got, torn) {
					t.Errorf("%s holds %q", aside, got)
				}
			})
		}
	}
}

// The day's first write torn or never made: the file goes away again, the next day follows the last whole one.
func TestTornBeginningOfADay(t *testing.T) {
	for _, torn := range []string{"", "{"} {
		dir := threeDays(t, nil)
		write(t, []byte(torn), dir, "access-2026-01-04.log")
		wantWhole(t, dir, 15)
		now := newClock("2026-01-05T00:00:00Z")
		l := open(t, audit.Config{Dir: dir, Now: now.Now})
		appendN(t, l, 1)
		closeLog(t, l)
		wantWhole(t, dir, 16+len(torn))
	}
}

// Only the last line may be torn. More than that is damage, which no later entry hides and no damage stops.
func TestDamagedEnd(t *testing.T) {
	dir := threeDays(t, nil)
	write(t, append(read(t, dir, day3), "x\ny\nz"...), dir, day3)
	l := open(t, audit.Config{Dir: dir, Now: newClock("2026-01-03T13:00:00Z").Now})
	appendN(t, l, 2)
	closeLog(t, l)
	r := verify(t, dir, nil)
	wantFinding(t, r, day3+":6: ")
	if entries(r) != 18 || r.Chains[0].Head.Seq != 18 || r.Chains[0].BadLines != 2 {
		t.Errorf("%s", r)
	}
}

// Verify waits for no appender that has stopped for good.
func TestVerifyEndsWithItsContext(t *testing.T) {
	dir := threeDays(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := audit.Verify(ctx, dir, nil); err == nil {
		t.Error("Verify did not notice that its context had ended")
	}
}

// Eight processes append 2,000 entries each while a ninth makes checkpoints. Each is killed some time and started again for
// what is left. Nothing that was answered for is missing.
func TestEightProcessesUnderKill(t *testing.T) {
	s, key := newKey(t)
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	const processes, each = 8, 2000
	var acknowledged atomic.Int64
	var wg sync.WaitGroup
	for n := range processes {
		wg.Go(func() {
			for left, round := each, 0; left > 0; round++ {
				cmd := command(t, dir, (left+childCallers-1)/childCallers)
				out, err := cmd.StdoutPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err != nil {
					t.Error(err)
					return
				}
				told, lines := 0, bufio.NewScanner(out)
				for lines.Scan() {
					if told++; round < 3 && told == 150+97*n+31*round {
						_ = cmd.Process.Kill()
					}
				}
				_ = cmd.Wait() // killed, or done
				left -= told
				acknowledged.Add(int64(told))
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		sign(t, l, s, audit.Stop)
		select {
		case <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
		}
	}
	closeLog(t, l)
	r := inspect(t, dir, key)
	access := uint64(0)
	for _, c := range r.Chains {
		if c.Category == audit.Access {
			access = c.Entries
		}
	}
	if !r.OK() || access < uint64(acknowledged.Load()) || acknowledged.Load() < processes*each {
		t.Errorf("%d acknowledged:\n%s", acknowledged.Load(), r)
	}
}
