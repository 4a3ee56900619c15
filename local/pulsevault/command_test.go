package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/redisdb"
)

func TestStartTellsWhatIsWrong(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	_, port, _ := net.SplitHostPort(busy.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bare := t.TempDir() // an ffmpeg that encodes nothing of use
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if err := os.WriteFile(filepath.Join(bare, name), []byte("#!/bin/sh\necho ' V..... mpeg4  MPEG-4'\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct{ setting, says string }{
		"no ffmpeg":          {"PATH=" + t.TempDir(), "install ffmpeg"},
		"ffmpeg, no libx264": {"PATH=" + bare, "no libx264 encoder"},
		"port in use":        {"PORT=" + port, "set PORT to a free port"},
		"bad value":          {"TOKEN_EXPIRY_SECONDS=soon", `TOKEN_EXPIRY_SECONDS="soon"`},
		"media root no dir":  {"MEDIA_ROOT=" + file, "MEDIA_ROOT"},
		"short secret":       {"HMAC_SECRET=short", "HMAC_SECRET"},
		"production, no key": {"APP_ENV=production", "HMAC_SECRET"},
		"no such mode":       {"AUTH_MODE=basic", "AUTH_MODE"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := run(t, t.TempDir(), []string{tc.setting}, "serve")
			if code != 1 || !strings.Contains(out, tc.says) || strings.Count(strings.TrimSpace(out), "\n") > 0 {
				t.Errorf("exit status %d, said %q", code, out)
			}
		})
	}
}

// The default folder lies where every user of a machine can make it first.
func TestAnothersFolderIsNamed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("NOT TESTED: root may write into everybody's folders")
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, ".serve.lock"), nil, 0); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, root, nil, "serve"); code != 1 || !strings.Contains(out, "Set MEDIA_ROOT") {
		t.Errorf("exit status %d, said %q", code, out)
	}
}

func TestSecondServerOnAFolderIsRefused(t *testing.T) {
	root := t.TempDir()
	first := start(t, "serve", root)
	if code, out := run(t, root, nil, "serve"); code != 1 || !strings.Contains(out, "REDIS_HOST") && !strings.Contains(out, "already") {
		t.Errorf("exit status %d: %s", code, out)
	}
	(client{t, first.url}).do(200, "GET", "/readyz", nil)
	first.kill()
	start(t, "serve", root) // what a crash leaves does not stand in the way
}

// A worker finds the server's embedded Redis by the folder, also when the server was started again.
func TestWorkerBesideAServer(t *testing.T) {
	root := t.TempDir()
	if code, out := run(t, root, nil, "worker"); code != 1 || !strings.Contains(out, "REDIS_HOST") && !strings.Contains(out, "serve") {
		t.Errorf("a worker alone: exit status %d: %s", code, out)
	}
	first := start(t, "serve", root, "WORKER_CONCURRENCY=0")
	c := client{t, first.url}
	start(t, "worker", root)
	c.await(c.send(shortClip(t)), "transcoded")
	first.kill()
	c.url = start(t, "serve", root, "WORKER_CONCURRENCY=0").url
	c.await(c.send(shortClip(t)), "transcoded")
}

func TestReadyNamesWhatIsDown(t *testing.T) {
	root := t.TempDir()
	c := client{t, start(t, "serve", root).url}
	c.do(200, "GET", "/readyz", nil)
	replaceByFile(t, filepath.Join(root, "audit"))
	if a := c.do(503, "GET", "/readyz", nil); !bytes.Contains(a.body, []byte(`"audit":"down"`)) || bytes.Contains(a.body, []byte(root)) {
		t.Errorf("readyz %s", a.body)
	}
}

// replaceByFile puts a file where the audit log is. A folder that is only gone, a server that has something to write makes
// anew, perhaps before the file is there.
func replaceByFile(t *testing.T, dir string) {
	t.Helper()
	var err error
	for i := range 100 {
		if err = os.Rename(dir, fmt.Sprint(dir, "-moved-", i)); err != nil {
			t.Fatal(err)
		}
		if err = os.WriteFile(dir, nil, 0o600); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func TestUnknownAddressesAndMethods(t *testing.T) {
	c := client{t, start(t, "serve", t.TempDir()).url}
	if a := c.do(200, "GET", "/", nil); !bytes.HasPrefix(a.body, []byte(`{"root":true,"service":"pulsevault","version":`)) {
		t.Errorf("/ answers %s", a.body)
	}
	for target, status := range map[string]int{
		"/nothing": 404, "/media": 404, "/uploads/status/..%2F..%2Fetc%2Fpasswd": 404, "/uploads//x": 404, "/%2e%2e/etc/passwd": 404,
		"/media/sign": 405, "/uploads/finalize": 405,
	} {
		a := c.do(status, "GET", target, nil)
		if a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Request-Id") == "" || !bytes.Contains(a.body, []byte(`"requestId"`)) {
			t.Errorf("%s: %v %s", target, a.header, a.body)
		}
	}
}

// What an intruder does to the log of a living system is found: a tail that was cut, a file that was removed, a line
// that was changed, also after the server has gone on writing.
func TestAuditVerifyFindsTampering(t *testing.T) {
	for name, tamper := range map[string]func(t *testing.T, log string){
		"cut tail": func(t *testing.T, log string) {
			data, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.SplitAfter(data, []byte("\n"))
			if err := os.WriteFile(log, bytes.Join(lines[:len(lines)-3], nil), 0o640); err != nil {
				t.Fatal(err)
			}
		},
		"removed file": func(t *testing.T, log string) {
			if err := os.Remove(log); err != nil {
				t.Fatal(err)
			}
		},
		"removed log, heads and all": func(t *testing.T, log string) {
			if err := os.RemoveAll(filepath.Dir(log)); err != nil {
				t.Fatal(err)
			}
		},
		"changed line": func(t *testing.T, log string) {
			data, err := os.ReadFile(log)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(log, bytes.Replace(data, []byte("original.mp4"), []byte("Original.mp4"), 1), 0o640); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, living := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				server := start(t, "serve", root)
				c := client{t, server.url}
				for range 8 {
					c.sign("some-video", "original.mp4")
				}
				awaitHeads(t, root)
				verifyAudit(t, root)
				if !living {
					server.stop()
				}
				logs, _ := filepath.Glob(filepath.Join(root, "audit", "access-*.log"))
				if len(logs) == 0 {
					t.Fatal("no log")
				}
				tamper(t, logs[0])
				wantFound(t, root)
				if !living {
					server = start(t, "serve", root)
					c.url = server.url
				}
				for range 8 {
					c.sign("some-video", "original.mp4")
				}
				awaitHeads(t, root)
				wantFound(t, root)
			})
		}
	}
}

// awaitHeads waits until the heads that a living server keeps of its access log, beside it and in Redis, are its end.
func awaitHeads(t *testing.T, root string) {
	t.Helper()
	opts, err := redisdb.FindEmbedded(root)
	if err != nil {
		t.Fatal(err)
	}
	client := redisdb.Open(opts)
	defer func() { _ = client.Close() }()
	var end, beside, inRedis struct{ Seq uint64 }
	follow := func() bool {
		logs, _ := filepath.Glob(filepath.Join(root, "audit", "access-*.log"))
		log, _ := os.ReadFile(logs[len(logs)-1])
		lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
		head, _ := os.ReadFile(filepath.Join(root, "audit", "heads", "access.json"))
		kept, _, _ := redisdb.Heads{Client: client}.Head(t.Context(), "access")
		_, _, _ = json.Unmarshal(lines[len(lines)-1], &end), json.Unmarshal(head, &beside), json.Unmarshal(kept, &inRedis)
		return end.Seq > 0 && beside == end && inRedis == end
	}
	if !comesTrue(follow) {
		t.Fatalf("the heads do not follow: the log ends with %d, kept are %d and %d", end.Seq, beside.Seq, inRedis.Seq)
	}
}

func wantFound(t *testing.T, root string) {
	t.Helper()
	if code, out := run(t, root, nil, "audit", "verify"); code != 1 || !strings.Contains(out, "access") {
		t.Errorf("audit verify: exit status %d\n%s", code, out)
	}
}

// The script that the README names works against a server, under a prefix and through another address too.
func TestWorkflowScript(t *testing.T) {
	root := t.TempDir()
	server := start(t, "serve", root)
	script, err := filepath.Abs("../workflow.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string][]string{"files": {"MEDIA_ROOT=" + root}, "HTTP only": {"MEDIA_ROOT=" + filepath.Join(root, "elsewhere")}} {
		cmd := exec.CommandContext(t.Context(), "bash", script)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "BASE_URL=" + server.url}, settings...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	server.kill()
	cmd := exec.CommandContext(t.Context(), "bash", script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "BASE_URL=" + server.url}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("it succeeds without a server:\n%s", out)
	}
}

// It shows a key to a server that asks who is calling, and to nobody who looks at the arguments of processes.
func TestWorkflowScriptKeepsItsKey(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("NOT TESTED: no curl is installed, so the script does not run")
	}
	shown, err := keysCommand(t, root, []string{"AUTH_MODE=apikey"}, "create", "--name", "test", "--role", "admin,service")
	if err != nil {
		t.Fatal(err)
	}
	key, log := strings.TrimSpace(shown), filepath.Join(bin, "log")
	wrapper := "#!/bin/sh\necho \"$*\" >>'" + log + "'\nexec '" + curl + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "curl"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	server := start(t, "serve", root, "AUTH_MODE=apikey")
	cmd := exec.CommandContext(t.Context(), "bash", "../workflow.sh")
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "BASE_URL=" + server.url, "MEDIA_ROOT=" + root, "AUTH=Authorization: Bearer " + key}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	arguments, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(arguments), "/media/sign") {
		t.Fatalf("%v: %s", err, arguments)
	}
	if strings.Contains(string(arguments), key) {
		t.Error("the key is among the arguments of curl")
	}
}

func TestHostHeaderMakesNoLink(t *testing.T) {
	c := client{t, start(t, "serve", t.TempDir()).url}
	for _, tc := range []struct{ method, target, body string }{
		{"POST", "/uploads", ""}, {"POST", "/media/sign", `{"videoId":"x","path":"original.mp4"}`}, {"GET", "/", ""}, {"GET", "/uploads/", ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tc.method, c.url+tc.target, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "evil.example"
		r.Header.Set("X-Forwarded-Host", "evil.example")
		r.Header.Set("Tus-Resumable", "1.0.0")
		r.Header.Set("Upload-Length", "5")
		var out bytes.Buffer
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Write(&out); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "evil") {
			t.Errorf("%s %s answers\n%s", tc.method, tc.target, out.String())
		}
	}
}
