package main_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pulsevault/pkg/audit"
)

// faultySettings keep to what is tried here: nothing is transcoded.
var faultySettings = []string{"TRANSCODE_ENABLED=false"}

// faulty is a server whose calls on files fail as it is told.
type faulty struct {
	*process
	orders  *os.File
	answers *bufio.Scanner
}

// buildFaulty builds the program that makes calls fail and returns its path.
func buildFaulty(t *testing.T) (tool string) {
	t.Helper()
	tool = filepath.Join(t.TempDir(), "faulty")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", tool, "../faulty").CombinedOutput(); err != nil {
		t.Fatalf("build faulty: %v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), tool, "/", "/bin/true").CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: programs may not be traced here (ptrace, seccomp), so no call of theirs can be made to fail: %v %s", err, out)
	}
	return tool
}

// startFaulty starts a server under that program.
func startFaulty(t *testing.T, tool, root string) *faulty {
	t.Helper()
	ours, orders, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, root, binary, "serve")
	cmd.ExtraFiles = []*os.File{ours, theirs}
	f := &faulty{orders: orders, answers: bufio.NewScanner(answers)}
	f.answers.Buffer(nil, 1<<20)
	f.process = startCommand(t, cmd, "serve", root, faultySettings...)
	t.Cleanup(func() { _, _ = orders.Close(), answers.Close() })
	_, _ = ours.Close(), theirs.Close()
	return f
}

// tell gives an order and returns the answer.
func (f *faulty) tell(order string, args ...any) string {
	f.t.Helper()
	if _, err := fmt.Fprintf(f.orders, order+"\n", args...); err != nil || !f.answers.Scan() {
		f.t.Fatalf("%s: %v, %v", order, err, f.answers.Err())
	}
	return f.answers.Text()
}

// fileCall is one call on a file, of those that an upload and its finalizing make.
type fileCall struct {
	call string // with its path
	nth  int
}

// fault is one way in which one call fails.
type fault struct {
	fileCall
	how    string
	killed bool // and the server is killed once the client has heard of it
}

func (f fault) String() string {
	name := fmt.Sprintf("%s %d %s", strings.ReplaceAll(f.call, "/", "|"), f.nth, f.how)
	if f.killed {
		name += " killed"
	}
	return name
}

// faults lists how a call can fail; where it changes anything, it matters too what a kill right after it leaves.
func (c fileCall) faults() (list []fault) {
	ways, changes := c.ways()
	for _, how := range ways {
		list = append(list, fault{c, how, false})
		if changes {
			list = append(list, fault{c, how, true})
		}
	}
	return list
}

func (c fileCall) ways() (ways []string, changes bool) {
	switch name, _, _ := strings.Cut(c.call, " "); name {
	case "write", "pwrite64":
		return []string{"EIO", "undone", "full"}, true
	case "renameat", "mkdirat":
		return []string{"EIO", "undone", "ENOSPC"}, true
	case "fsync", "fdatasync", "unlinkat", "ftruncate":
		return []string{"EIO", "undone"}, true
	case "creat":
		return []string{"ENOSPC"}, true
	case "close": // closes in any case
		return []string{"undone"}, false
	}
	return []string{"EIO"}, false
}

// fileCalls runs an upload and its finalizing without a fault and returns the calls, in their order.
func fileCalls(t *testing.T, tool string, content []byte) (calls []fileCall) {
	t.Helper()
	root := t.TempDir()
	server := startFaulty(t, tool, root)
	server.tell("calls")
	s := &tale{story: story{client: client{t, server.url}, content: content}, root: root}
	if err := s.goOn(); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for call := range strings.SplitSeq(server.tell("calls"), "\t") {
		if strings.Contains(call, " .redis") || strings.HasSuffix(call, " .") { // the embedded Redis saves by the clock
			continue
		}
		counts[call]++
		calls = append(calls, fileCall{call, counts[call]})
	}
	server.stop()
	return calls
}

// Each call on a file that an upload and its finalizing make fails once, in each way that it can. Whoever asked hears of it or
// need not, what was acknowledged stays, and with the next try all is done: with the same server, and with the one that is
// started after this one was killed.
func TestEachFileCallFailsOnce(t *testing.T) {
	tool, content := buildFaulty(t), faultyContent(t)
	tries, missed := 0, &atomic.Int32{}
	t.Cleanup(func() { // after all of them
		t.Logf("%d faults, %d of them at calls that did not come", tries, missed.Load())
		if int(missed.Load()) > tries/10 {
			t.Error("too many calls did not come")
		}
	})
	for _, c := range fileCalls(t, tool, content) {
		for _, f := range c.faults() {
			tries++
			t.Run(f.String(), func(t *testing.T) {
				t.Parallel()
				struck := false
				for range 3 { // what is done by the clock comes more rarely the busier the machine is
					struck = struck || failOnce(t, tool, content, f)
				}
				if !struck {
					missed.Add(1)
				}
			})
		}
	}
}

// failOnce has one call fail, and reports whether it came: the loops of the audit log and the sweep take their own time.
func failOnce(t *testing.T, tool string, content []byte, f fault) (struck bool) {
	t.Helper()
	root := t.TempDir()
	server := startFaulty(t, tool, root)
	server.tell("fail %s %s %d", f.how, f.call, f.nth)
	s := &tale{story: story{client: client{t, server.url}, content: content}, root: root}
	err := s.goOn()
	if struck = server.tell("struck") != "0"; err != nil && !struck {
		t.Errorf("without a fault: %v", err)
	}
	server.tell("none") // a call that has not come yet would fail in the middle of what is checked
	host := server.process
	if f.killed {
		host.kill()
		host = start(t, "serve", root, faultySettings...)
		s.url = host.url
	}
	s.wantAcknowledged()
	if err := s.goOn(); err != nil {
		t.Errorf("after the fault: %v", err)
	}
	s.wantRight()
	host.stop()
	if report, err := audit.Verify(t.Context(), filepath.Join(root, "audit"), nil); err != nil || !report.OK() {
		t.Errorf("audit verify: %v, %s", err, report)
	}
	return struck
}

// Each call on a file is interrupted before it succeeds, and each write is short. Nobody hears of that.
func TestInterruptionsAndShortWritesAreNotHeardOf(t *testing.T) {
	tool, content := buildFaulty(t), faultyContent(t)
	for _, how := range []string{"EINTR", "short"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			server := startFaulty(t, tool, root)
			server.tell("all %s", how)
			for range 3 {
				s := &tale{story: story{client: client{t, server.url}, content: content}, root: root}
				if err := s.goOn(); err != nil {
					t.Errorf("after %s faults: %v", server.tell("struck"), err)
				}
				s.wantRight()
			}
			t.Logf("%s faults", server.tell("struck"))
			server.stop()
			verifyAudit(t, root)
		})
	}
}

// The system tells once that it could not write, and then may think it has. So the audit log writes the entries again
// before it believes another sync.
func TestAuditEntriesAreWrittenAgainAfterAFailedSync(t *testing.T) {
	const file = "audit/upload-DATE.log"
	wantCalls(t, "fdatasync "+file, []string{"write " + file, "pwrite64 " + file, "fdatasync " + file},
		"write fdatasync write pwrite64 fdatasync fdatasync")
}

// A folder whose name could not be synced is made again, and not just found there by the next try.
func TestFolderIsSyncedAfterAFailedSync(t *testing.T) {
	wantCalls(t, "fsync videos", []string{"mkdirat videos/ID", "unlinkat videos/ID", "fsync videos", "renameat uploads/ID"},
		"mkdirat fsync unlinkat unlinkat mkdirat fsync renameat") // os.Remove tries it as a file first
}

// wantCalls has a call fail once, lets a client bring its video through, and fails the test unless certain calls have begun
// as wanted.
func wantCalls(t *testing.T, fails string, among []string, want string) {
	t.Helper()
	tool, content, root := buildFaulty(t), faultyContent(t), t.TempDir()
	server := startFaulty(t, tool, root)
	server.tell("calls")
	server.tell("fail EIO %s 1", fails)
	s := &tale{story: story{client: client{t, server.url}, content: content}, root: root}
	if s.goOn() != nil {
		if err := s.goOn(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for call := range strings.SplitSeq(server.tell("calls"), "\t") {
		if slices.Contains(among, call) {
			got = append(got, strings.Fields(call)[0])
		}
	}
	if !strings.HasPrefix(strings.Join(got, " "), want) {
		t.Errorf("the calls were %v, want %s first", got, want)
	}
	s.wantRight()
	server.stop()
	verifyAudit(t, root)
}

// faultyContent is a clip, and enough behind it for blocks that go past the page cache.
func faultyContent(t *testing.T) []byte {
	t.Helper()
	content, err := os.ReadFile(shortClip(t))
	if err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, 3<<20)
	for i := range rest {
		rest[i] = byte(i * 7 >> 3)
	}
	return append(content, rest...)
}
