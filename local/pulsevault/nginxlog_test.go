package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A line of the access log.
type accessLine struct {
	Time, RequestID, Client, Method, Path, Protocol, TLS, Cache, UpstreamStatus, UpstreamTook, Limited, Agent string
	Status, Bytes                                                                                             int64
	Took                                                                                                      float64
}

// lines are those of nginx's access log, each JSON.
func (f *front) lines() (lines []accessLine) {
	f.t.Helper()
	time.Sleep(200 * time.Millisecond) // a line is written after the answer
	for text := range strings.Lines(f.said(&f.log)) {
		var line accessLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			f.t.Fatalf("%v: %s", err, text)
		}
		lines = append(lines, line)
	}
	return lines
}

// The log tells what happened, and no token; nor does what nginx complains of when the server is away, nor what it keeps.
func TestNginxLogsNoTokens(t *testing.T) {
	f := startFront(t, "RATE_MEDIA=20", "RATE_MEDIA_BURST=2", "RATE_CONNECTIONS=2")
	id := f.store(1000, anHLS())
	link := f.sign(id, "hls/240p_000.ts")
	f.do(200, "GET", link, nil)
	f.do(200, "GET", link, nil, "X-Request-Id", "asked-by-a-player", "Referer", f.url+link, "User-Agent", "a \"player\"\\")
	f.do(401, "GET", link+"0", nil)
	f.do(200, "GET", f.sign(id, "hls/240p.m3u8"), nil)
	f.atOnceAny(20, link)
	time.Sleep(time.Second)
	f.server.kill()
	if a := f.do(503, "GET", link, nil); a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	var lines []accessLine
	comesTrue(func() bool { lines = f.lines(); return lines[len(lines)-1].Status == 503 })
	last := lines[len(lines)-1]
	if last.Status != 503 || last.Method != "GET" || !strings.HasSuffix(last.Path, "/hls/240p_000.ts") || last.Client != "127.0.0.0" {
		t.Errorf("%+v", last)
	}
	found := false
	for _, line := range lines {
		found = found || line.RequestID == "asked-by-a-player" && line.Cache == "HIT" && line.Status == 200 && line.Bytes > 1<<20 && line.Agent == "a \"player\"\\"
	}
	if !found {
		t.Errorf("no line tells of what a player asked: %+v", lines)
	}
	for where, text := range map[string]string{"access log": f.said(&f.log), "error log": f.said(&f.problems), "server's log": f.server.said()} {
		if token := aToken.FindString(text); token != "" || strings.Contains(text, "token=") {
			t.Errorf("%s has %q: %.2000s", where, token, text)
		}
	}
	err := filepath.WalkDir(f.cache, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && aToken.MatchString(f.read(path)) {
			t.Errorf("a token is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// atOnceAny sends requests at the same time, whatever is answered.
func (f *front) atOnceAny(n int, target string) {
	var group sync.WaitGroup
	for range n {
		group.Go(func() { _, _ = f.try("GET", target, nil) })
	}
	group.Wait()
}

// While the server is away nobody gets anything, out of the cache neither, and everybody is told to come again. When it is
// back, or another stands where it was, all goes on.
func TestNginxWithoutTheServer(t *testing.T) {
	port := freeAddress(t)
	_, number, _ := strings.Cut(port, ":")
	f := startFront(t, "CORS_ORIGINS=https://clinic.example", "PORT="+number, "HMAC_SECRET=0123456789abcdef0123456789abcdef")
	id := f.store(1000, anHLS())
	link := f.sign(id, "hls/240p_000.ts")
	for _, status := range []string{"MISS", "HIT"} {
		if a := f.do(200, "GET", link, nil); a.header.Get("X-Cache-Status") != status {
			t.Errorf("%s, want %s", a.header.Get("X-Cache-Status"), status)
		}
	}
	f.server.kill()
	for _, target := range []string{link, "/videos", "/health", "/media/videos/" + id + "/metadata"} {
		a := f.do(503, "GET", target, nil, "Origin", "https://clinic.example")
		wantSecured(t, target, a.header, nil, false)
		if media := strings.HasPrefix(target, "/media/videos/"); media != (a.header.Get("X-Cache-Status") == "BYPASS") {
			t.Errorf("%s: X-Cache-Status %q", target, a.header.Get("X-Cache-Status"))
		}
		if a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" ||
			a.header.Get("Access-Control-Allow-Origin") != "https://clinic.example" || !strings.Contains(string(a.body), `"unavailable"`) {
			t.Errorf("%s: %v %s", target, a.header, a.body)
		}
	}
	start(t, "serve", f.root, "AUTH_MODE=apikey", "TRUSTED_PROXIES=127.0.0.1", "WORKER_CONCURRENCY=0", "PORT="+number, "HMAC_SECRET=0123456789abcdef0123456789abcdef")
	if a := f.do(200, "GET", link, nil); a.header.Get("X-Cache-Status") != "HIT" {
		t.Errorf("%v", a.header)
	}
}
