package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pulsevault/local/bench/rig"
	"pulsevault/pkg/freeport"
	"pulsevault/pkg/media"
)

// front is a real nginx, with the configuration of nginx/, before a real server that asks who calls.
type front struct {
	client // of nginx over HTTP, which shows a key of an administrator

	server             *process
	direct             client // of the server itself, with the same key
	root, cache        string
	plain, tls, inside string // nginx's addresses
	key                string

	mu       sync.Mutex
	log      bytes.Buffer // access log
	problems bytes.Buffer // error log
}

// startFront starts a server and nginx before it. Settings of nginx are those that begin with the name of one; all go to both.
func startFront(t *testing.T, settings ...string) *front {
	t.Helper()
	f := prepareFront(t, settings...)
	f.startNginx(f.render(settings))
	return f
}

// prepareFront starts the server only, in which no transcoder works.
func prepareFront(t *testing.T, settings ...string) *front {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("NOT TESTED: no nginx here, so nothing is before the server: install nginx")
	}
	f := &front{root: t.TempDir(), cache: t.TempDir()}
	settings = append([]string{"AUTH_MODE=apikey", "TRUSTED_PROXIES=127.0.0.1", "WORKER_CONCURRENCY=0", "LOG_LEVEL=debug"}, settings...)
	shown, err := keysCommand(t, f.root, settings, "create", "--name", "test", "--role", "admin,service")
	if err != nil {
		t.Fatal(err)
	}
	f.key = strings.TrimSpace(shown)
	f.server = start(t, "serve", f.root, settings...)
	f.plain, f.tls, f.inside = freeAddress(t), freeAddress(t), freeAddress(t)
	f.client, f.direct = client{t, withKey(t, "http://"+f.plain, f.key)}, client{t, withKey(t, f.server.url, f.key)}
	return f
}

// withKey is the address of a proxy before a host that adds a key to requests that show none.
func withKey(t *testing.T, host, key string) string {
	t.Helper()
	target, err := url.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
			if r.Out.Header.Get("Authorization") == "" {
				r.Out.Header.Set("Authorization", "Bearer "+key)
			}
		},
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 50},
	})
	t.Cleanup(server.Close)
	return server.URL
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

const nginxFolder = "../../nginx"

// render renders the templates into a folder.
func (f *front) render(settings []string) (folder string) {
	f.t.Helper()
	folder = f.t.TempDir()
	err := rig.RenderNginx(f.t.Context(), nginxFolder, folder, append([]string{
		"PULSEVAULT_ADDR=" + strings.TrimPrefix(f.server.url, "http://"), "LISTEN_HTTP=" + f.plain, "LISTEN_HTTPS=" + f.tls, "LISTEN_INTERNAL=" + f.inside,
		"NGINX_CACHE_DIR=" + f.cache,
	}, settings...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	return folder
}

func (f *front) read(path string) string {
	f.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(data)
}

func (f *front) write(path, text string) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *front) startNginx(folder string) {
	f.t.Helper()
	cmd := rig.Nginx(context.WithoutCancel(f.t.Context()), folder)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { f.collect(bufio.NewScanner(stdout), &f.log) })
	readers.Go(func() { f.collect(bufio.NewScanner(stderr), &f.problems) })
	f.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // the master ends its workers
		readers.Wait()
		_ = cmd.Wait()
		if f.t.Failed() {
			f.t.Logf("nginx said:\n%s", f.said(&f.problems))
		}
	})
	listens := func() bool {
		c, err := net.Dial("tcp", f.inside)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	if !comesTrue(listens) {
		f.t.Fatalf("nginx does not listen:\n%s", f.said(&f.problems))
	}
}

func (f *front) collect(s *bufio.Scanner, to *bytes.Buffer) {
	for s.Scan() {
		f.mu.Lock()
		to.WriteString(s.Text() + "\n")
		f.mu.Unlock()
	}
}

func (f *front) said(where *bytes.Buffer) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return where.String()
}

// store makes a video with these files beside its original, which has so many bytes.
func (f *front) store(size int, files map[string]string) (id string) {
	f.t.Helper()
	original := filepath.Join(f.t.TempDir(), "original.mp4")
	f.write(original, string(asVideo(randomBytes(size))))
	id = f.direct.send(original)
	for name, content := range files {
		path := filepath.Join(f.root, "videos", id, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			f.t.Fatal(err)
		}
		f.write(path, content)
	}
	return id
}

// played is how often the audit log tells of an access to a path of a video, each with its method and range.
func (f *front) played(id, path string) (accesses []string) {
	f.t.Helper()
	logs, err := filepath.Glob(filepath.Join(f.root, "audit", "access-*.log"))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, log := range logs {
		for line := range strings.Lines(f.read(log)) {
			var e struct {
				Event struct {
					Action, VideoID, Path, UserID string
					Details                       struct{ Method, Range, KeyID string }
				}
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				f.t.Fatal(err)
			}
			if v := e.Event; v.Action == "media.accessed" && v.VideoID == id && v.Path == path {
				if v.UserID != "test" || v.Details.KeyID != f.key[3:11] {
					f.t.Errorf("an access is recorded of another: %s", line)
				}
				accesses = append(accesses, strings.TrimSpace(v.Details.Method+" "+v.Details.Range))
			}
		}
	}
	return accesses
}

// anHLS is what a player finds of a video: a segment, its playlists, and a poster.
func anHLS() map[string]string {
	return map[string]string{
		"hls/master.m3u8": "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=426x240\n240p.m3u8\n",
		"hls/240p.m3u8":   "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:6,\n240p_000.ts\n#EXT-X-ENDLIST\n",
		"hls/240p_000.ts": string(randomBytes(1 << 20)), media.Poster: "a picture",
	}
}
