package audit_test

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"pulsevault/pkg/audit"
)

// A write that the system cuts short, as a full disk does, leaves the chain as it was, and everybody who waited hears
// of it. The limit on the size of files is the whole process's, so the test runs in a process of its own.
func TestFullDisk(t *testing.T) {
	if os.Getenv("AUDIT_TEST_FULL") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "AUDIT_TEST_FULL=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	dir := t.TempDir()
	l := open(t, audit.Config{Dir: dir})
	appendN(t, l, 20)
	file := logFile(t, dir)
	before := read(t, file)

	unlimited := limitFileSize(t, uint64(len(before)+100))
	var wg sync.WaitGroup
	for i := range 8 {
		add := l.Append
		if i%2 == 0 {
			add = l.Note
		}
		wg.Go(func() {
			if err := add(context.Background(), audit.Access, event(i)); err == nil {
				t.Error("an entry was taken by a full disk")
			}
		})
	}
	wg.Wait()
	if got := read(t, file); string(got) != string(before) {
		t.Errorf("the failed write left %d bytes behind", len(got)-len(before))
	}
	unlimited()
	appendN(t, l, 2)
	closeLog(t, l)
	if r := wantWhole(t, dir, 22); len(r.Notes) != 0 {
		t.Errorf("%s", r)
	}
}

func limitFileSize(t *testing.T, size uint64) (restore func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: size, Max: old.Max})
	return func() { set(old) }
}
