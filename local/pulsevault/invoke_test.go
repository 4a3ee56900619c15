package main_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"pulsevault/pkg/media/mediatest"
)

var update = flag.Bool("update", false, "record the answers to the events anew")

// functions compiles the functions once, with their failpoints, and returns the folder that holds them, as `make build` leaves them.
var functions = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(filepath.Dir(binary), "functions")
	mains, err := filepath.Glob("../../functions/*/main.go")
	if err != nil {
		return "", err
	}
	for _, main := range mains {
		source := filepath.Dir(main)
		build := exec.Command("go", "build", "-buildvcs=false", "-tags", "lambda.norpc,failpoint", "-ldflags", "-s -w",
			"-o", filepath.Join(dir, filepath.Base(source), "bootstrap"), "./"+source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return "", &buildError{string(out), err}
		}
	}
	return dir, nil
})

type buildError struct {
	said string
	err  error
}

func (e *buildError) Error() string { return e.err.Error() + "\n" + e.said }

// hosting are the flags that say what to host.
func hosting(t *testing.T) []string {
	t.Helper()
	dir, err := functions()
	if err != nil {
		t.Fatal(err)
	}
	template, err := filepath.Abs("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return []string{"--template=" + template, "--functions=" + dir}
}

// Each sample event, given to its function by itself, gets the recorded answer.
func TestEventsGetTheirAnswers(t *testing.T) {
	flags := hosting(t)
	media, err := filepath.Abs("../../events/media")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("../../events/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no events", err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".json"), func(t *testing.T) {
			event, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			function, _, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "-")
			args, settings := []string{"invoke", function, event, "--media=" + media}, []string(nil)
			if function == "audit" { // which works on a bucket only
				args, settings = args[:3], append(mediatest.StartS3(t).Settings(), redisSettings(t)...)
			}
			code, out, report := invoke(t, settings, append(args, flags...)...)
			got := settled(t, out)
			recorded := filepath.Join("../../events/answers", name)
			if *update {
				if err := os.WriteFile(recorded, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(recorded)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("answers\n%s\nrecorded is\n%s\nlog:\n%s", got, want, report)
			}
			if failed := bytes.Contains(want, []byte(`"errorType"`)); failed != (code == 1) || code > 1 {
				t.Errorf("exit status %d", code)
			}
			if !strings.Contains(report, "REPORT RequestId: ") || !strings.Contains(report, "Init Duration: ") {
				t.Errorf("no report: %s", report)
			}
		})
	}
}

// invoke runs a command, with settings as NAME=value, and returns what it wrote to its standard output and error.
func invoke(t *testing.T, settings []string, args ...string) (code int, out []byte, report string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}, settings...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out, stderr.String()
}

// changing is what differs from one run to the next, in the order in which it is put aside.
var changing = []struct {
	form *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`("(?:X-Request-Id|Last-Modified|Etag|Upload-Expires)": \[\s*)"(?:[^"\\]|\\.)*"`), `$1"…"`},
	{regexp.MustCompile(`\\?"requestId\\?":\\?"[0-9a-f-]{36}`), `requestId…`},
	{regexp.MustCompile(`/uploads/[0-9a-f-]{36}"`), `/uploads/…"`},
	{regexp.MustCompile(`1[0-9]{9}\.[0-9a-f]{64}`), `token…`},
	{regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`), `time…`},
	{regexp.MustCompile(`("Content-Length": \[\s*)"[0-9]+"`), `$1"…"`},
}

// settled is an answer that is the same each time.
func settled(t *testing.T, answer []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(answer), "", "  "); err != nil {
		t.Fatalf("the answer is not JSON: %v: %s", err, answer)
	}
	out := append(b.Bytes(), '\n')
	for _, c := range changing {
		out = c.form.ReplaceAll(out, []byte(c.name))
	}
	return out
}

func TestInvokeOfWhatIsNotThere(t *testing.T) {
	flags := hosting(t)
	event := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(event, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := []string{"MEDIA_ROOT=" + t.TempDir()}
	if code, out := run(t, t.TempDir(), settings, append([]string{"invoke", "nobody", event}, flags...)...); code != 1 || !strings.Contains(out, `no function "nobody"`) {
		t.Errorf("exit status %d: %s", code, out)
	}
	flags[1] = "--functions=" + t.TempDir()
	if code, out := run(t, t.TempDir(), settings, append([]string{"invoke", "sign", event}, flags...)...); code != 1 || !strings.Contains(out, "make build") {
		t.Errorf("exit status %d: %s", code, out)
	}
}
