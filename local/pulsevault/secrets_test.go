package main_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// No secret, and no token that was handed out, is anywhere but where it belongs: not in what any process says at
// LOG_LEVEL=debug, not in a metric, an answer, the arguments of a process, the audit log or a file that is kept.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		random := func() string { return hex.EncodeToString(randomBytes(24)) }
		settings := append([]string{"HMAC_SECRET=" + random(), "HMAC_SECRET_PREVIOUS=" + random(), "LOG_LEVEL=debug", "AUTH_MODE=apikey"}, p.settings...)
		shown, err := keysCommand(t, p.root, settings, "create", "--name", "the clinic", "--role", "admin,service")
		if err != nil {
			t.Fatal(err)
		}
		key := strings.TrimSpace(shown)
		commands := watchCommands(t)
		processes := startAll(p, settings)
		secrets := secretsOf(t, p.root, settings)
		secrets["the API key"] = key[len("pv_0badc0de_"):]
		s := &scribe{tokens: map[string]bool{}, key: key}
		c := client{t, s.before(t, processes[0].url)}
		everythingHappens(c)
		for _, process := range processes {
			process.stop()
			s.note("what a process says", process.said())
		}
		seen := commands()
		if !strings.Contains(seen, "ffmpeg") && runtime.GOOS == "linux" {
			t.Error("no ffmpeg was seen at work")
		}
		s.note("the arguments of a process, or the environment of ffmpeg", seen)
		s.noteFiles(t, p.root)
		s.noteFiles(t, p.kept)
		if len(s.tokens) < 8 || len(secrets) < 3 {
			t.Errorf("%d tokens, %d secrets", len(s.tokens), len(secrets))
		}
		s.wantNone(t, secrets)
		s.wantNoPaths(t, p.root, p.kept)
	})
}

// startAll starts the host, and beside a server a worker, which is told where the server's Redis is, and its password.
func startAll(p place, settings []string) []*process {
	if p.host.command != "serve" {
		return []*process{p.start(settings...)}
	}
	server := p.start(append(settings, "WORKER_CONCURRENCY=0")...)
	addr, password := embeddedRedis(p.t, p.root)
	name, port, _ := strings.Cut(addr, ":")
	worker := start(p.t, "worker", p.root, append(settings, "REDIS_HOST="+name, "REDIS_PORT="+port, "REDIS_PASSWORD="+password)...)
	return []*process{server, worker}
}

// embeddedRedis is what the file says that tells workers of the server's Redis.
func embeddedRedis(t *testing.T, root string) (addr, password string) {
	t.Helper()
	path := filepath.Join(root, ".redis.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return "", ""
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the password of Redis: %v, %v", info.Mode(), err)
	}
	var v struct{ Addr, Password string }
	if err := json.Unmarshal(data, &v); err != nil || v.Password == "" {
		t.Fatalf("%s, %v", data, err)
	}
	return v.Addr, v.Password
}

// secretsOf are the values of the settings that are secret, and the password that the server has made for its Redis.
func secretsOf(t *testing.T, root string, settings []string) map[string]string {
	t.Helper()
	secrets := map[string]string{}
	for _, s := range settings {
		if name, value, _ := strings.Cut(s, "="); strings.Contains(name, "SECRET") || strings.Contains(name, "PASSWORD") && value != "" {
			secrets[name] = value
		}
	}
	if _, password := embeddedRedis(t, root); password != "" {
		secrets["the password of the embedded Redis"] = password
	}
	return secrets
}

// watchCommands notes the arguments of every process on this machine, and the environment of ffmpeg, until it is asked for them.
func watchCommands(t *testing.T) (seen func() string) {
	t.Helper()
	all, done := map[string]bool{}, make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
			for _, path := range paths {
				args, err := os.ReadFile(path)
				if err != nil {
					continue // it has ended
				}
				all[strings.ReplaceAll(string(args), "\x00", " ")] = true
				if bytes.HasPrefix(args, []byte("ff")) {
					environment, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
					all[strings.ReplaceAll(string(environment), "\x00", " ")] = true
				}
			}
			select {
			case <-done:
				return
			case <-time.After(30 * time.Millisecond):
			}
		}
	})
	end := sync.OnceFunc(func() { close(done); watching.Wait() })
	t.Cleanup(end)
	return func() string {
		end()
		var b strings.Builder
		for args := range all {
			b.WriteString(args + "\n")
		}
		return b.String()
	}
}

// scribe notes what a host says, and the tokens that it hands out.
type scribe struct {
	mu     sync.Mutex
	key    string // that every request shows
	tokens map[string]bool
	said   []remark
}

type remark struct {
	where, text string
	answer      bool
	handsOut    bool // tokens stand in it for whoever asked for them
}

func (s *scribe) note(where, text string) { s.said = append(s.said, remark{where: where, text: text}) }

// aToken is one of ours, or the signature of a link to a bucket.
var aToken = regexp.MustCompile(`[0-9]{10}\.(?:[A-Za-z0-9_-]+\.)?[0-9a-f]{64}|X-Amz-Signature=[0-9a-f]{64}`)

// before returns the address of a proxy before a host, which notes every answer.
func (s *scribe) before(t *testing.T, host string) (address string) {
	t.Helper()
	target, err := url.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+s.key)
		},
		ModifyResponse: func(a *http.Response) error {
			body, err := io.ReadAll(a.Body)
			a.Body = io.NopCloser(bytes.NewReader(body))
			var header bytes.Buffer
			_ = a.Header.Write(&header)
			path := a.Request.URL.Path
			handsOut := a.StatusCode < 400 && (path == "/media/sign" || strings.HasSuffix(path, ".m3u8") || strings.HasSuffix(path, ".vtt") || a.Header.Get("Location") != "")
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, remark{fmt.Sprintf("the answer %d to %s %s", a.StatusCode, a.Request.Method, path), header.String() + string(body), true, handsOut})
			if handsOut {
				for _, token := range aToken.FindAllString(string(body), -1) {
					s.tokens[token] = true
				}
			}
			return err
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// noteFiles notes every file below a folder but the one that is there to tell workers of the server's Redis.
func (s *scribe) noteFiles(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == ".redis.json" {
			return err
		}
		data, err := os.ReadFile(path)
		s.note("the file "+path, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wantNone looks for the secrets, in each form they may have, and for the tokens.
func (s *scribe) wantNone(t *testing.T, secrets map[string]string) {
	t.Helper()
	for _, r := range s.said {
		for name, secret := range secrets {
			for _, form := range []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "=")} {
				if strings.Contains(r.text, form) {
					t.Errorf("%s is in %s", name, r.where)
				}
			}
		}
		if r.handsOut {
			continue
		}
		for _, token := range aToken.FindAllString(r.text, -1) {
			if s.tokens[token] {
				t.Errorf("a token that was handed out is in %s: …%.200s…", r.where, r.text[max(0, strings.Index(r.text, token)-100):])
			}
		}
	}
}

// wantNoPaths looks for names of files, and of what we are made of, in the answers.
func (s *scribe) wantNoPaths(t *testing.T, folders ...string) {
	t.Helper()
	for _, r := range s.said {
		if !r.answer || strings.HasSuffix(r.where, "/metrics") {
			continue
		}
		for _, word := range append(folders, "goroutine ", "tusd", "ffmpeg version", runtime.Version()) {
			if strings.Contains(r.text, word) {
				t.Errorf("%q is in %s: %.500s", word, r.where, r.text)
			}
		}
	}
}

// everythingHappens takes videos all the way, well and badly, and asks for what is refused.
func everythingHappens(c client) {
	c.t.Helper()
	path := shortClip(c.t)
	whole, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	id := c.send(path)
	c.await(id, "transcoded")
	c.wantPreview(id)
	c.follow(c.sign(id, "hls/master.m3u8"))
	half := filepath.Join(c.t.TempDir(), "half.mp4")
	if err := os.WriteFile(half, whole[:len(whole)/2], 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.await(c.send(half), "transcode_failed")

	location, err := c.create(10)
	if err != nil {
		c.t.Fatal(err)
	}
	piece := []string{"Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset"}
	c.do(409, "PATCH", location, strings.NewReader("12345"), append(piece, "5")...)
	c.do(460, "PATCH", location, strings.NewReader("12345"), append(piece, "0", "Upload-Checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")...)
	c.do(409, "POST", "/uploads/finalize", strings.NewReader(fmt.Sprintf(`{"uploadId":%q,"filename":"x.mp4"}`, filepath.Base(location))))
	c.do(204, "PATCH", location, strings.NewReader("no video!!"), append(piece, "0")...)
	c.do(415, "POST", "/uploads/finalize", strings.NewReader(fmt.Sprintf(`{"uploadId":%q,"filename":"x.mp4"}`, filepath.Base(location))))

	link := c.sign(id, "original.mp4")
	address, token, _ := strings.Cut(link, "?token=")
	c.do(401, "GET", address, nil)
	c.do(401, "GET", link+"0", nil)
	c.do(401, "GET", address+"?token="+token+"&token="+token, nil)
	c.do(416, "GET", link, nil, "Range", "bytes=999999999-")
	c.do(404, "GET", c.sign(id, "hls/none.ts"), nil)
	c.do(400, "POST", "/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":%q,"path":"original.mp4","token":%q}`, id, token)))
	c.do(400, "POST", "/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":"x?token=%s","path":"original.mp4"}`, token)))
	c.do(404, "GET", "/nothing?token="+token, nil)
	c.do(405, "POST", link, nil)
	for _, target := range []string{"/", "/healthz", "/readyz", "/metrics"} {
		c.do(200, "GET", target, nil)
	}
}

// follow fetches a playlist and everything that it leads to on this host.
func (c client) follow(link string) {
	c.t.Helper()
	base, err := url.Parse(link)
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(c.do(200, "GET", link, nil).body)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "http") {
			continue
		}
		target, err := base.Parse(line)
		if err != nil {
			c.t.Fatal(err)
		}
		if strings.HasSuffix(target.Path, ".m3u8") {
			c.follow(target.String())
			continue
		}
		c.do(200, "GET", target.String(), nil)
	}
}
