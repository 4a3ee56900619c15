package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// differs are the headers that nginx sets in its own way, or that only one of the two has.
var differs = []string{
	"Date", "Server", "Connection", "X-Request-Id", "X-Frame-Options", "Content-Security-Policy", "X-Xss-Protection", "X-Cache-Status", "Transfer-Encoding",
	"Upload-Expires", "Location",
}

// Through nginx everything is answered as the server answers it, and each answer has each security header once, whoever gives
// it: the server, the cache, or nginx itself.
func TestNginxAnswersAsTheServer(t *testing.T) {
	f := startFront(t, "CORS_ORIGINS=https://clinic.example, http://other.example:8080")
	id := f.store(1000, anHLS())
	segment := f.sign(id, "hls/240p_000.ts")
	f.do(200, "GET", segment, nil)
	tus := []string{"Tus-Resumable", "1.0.0", "Upload-Length", "5"}
	seen := map[int]bool{}
	for _, origin := range []string{"", "https://clinic.example", "http://other.example:8080", "https://evil.example", "http://other.example", "null"} {
		for _, x := range []struct {
			method, target string
			headers        []string
		}{
			{"GET", "/", nil}, {"GET", "/healthz", nil}, {"GET", "/nothing", nil}, {"DELETE", "/", nil},
			{"POST", "/media/sign", nil}, {"POST", "/uploads/finalize", nil}, {"GET", "/media/videos/x", nil}, {"GET", "/videos", nil},
			{"POST", "/uploads", tus}, {"POST", "/uploads", []string{"Tus-Resumable", "1.0.0", "Upload-Length", "99999999999999"}},
			{"OPTIONS", "/uploads", nil}, {"HEAD", "/uploads/" + id, tus}, {"GET", "/uploads/status/" + id, nil},
			{"GET", segment, nil}, {"HEAD", segment, nil}, {"GET", segment, []string{"Range", "bytes=1-2"}}, {"GET", segment, []string{"Range", "bytes=2000000-"}},
			{"GET", segment, []string{"If-None-Match", "*"}}, {"GET", segment, []string{"If-Match", `"x"`}}, {"GET", segment + "x", nil}, {"POST", segment, nil},
			{"GET", f.sign(id, "hls/none.ts"), nil}, {"GET", f.sign(id, "hls/240p.m3u8"), nil}, {"GET", f.sign(id, "metadata"), nil},
			{"OPTIONS", segment, []string{"Access-Control-Request-Method", "GET"}}, {"OPTIONS", "/media/sign", []string{"Access-Control-Request-Method", "POST"}},
		} {
			headers := x.headers
			if origin != "" {
				headers = append(slices.Clone(headers), "Origin", origin)
			}
			direct, err := f.direct.try(x.method, x.target, nil, headers...)
			if err != nil {
				t.Fatal(err)
			}
			a, err := f.try(x.method, x.target, nil, headers...)
			if err != nil {
				t.Fatal(err)
			}
			name := x.method + " " + x.target + " from " + origin
			f.wantAlike(name, a, direct)
			wantSecured(t, name, a.header, direct.header, false)
			seen[a.status] = true
		}
	}
	for _, status := range []int{200, 201, 204, 206, 304, 400, 401, 404, 405, 412, 413, 416} {
		if !seen[status] {
			t.Errorf("no answer had status %d: %v", status, seen)
		}
	}
}

func (f *front) wantAlike(name string, a, direct answer) {
	f.t.Helper()
	if a.status != direct.status || strings.HasPrefix(a.header.Get("Content-Type"), "application/json") && wordsOf(a) != wordsOf(direct) {
		f.t.Errorf("%s: %d %s, and the server %d %s", name, a.status, a.body, direct.status, direct.body)
	}
	for header := range maps.Keys(merged(a.header, direct.header)) {
		if got, want := a.header.Values(header), direct.header.Values(header); !slices.Contains(differs, header) && !slices.Equal(got, want) {
			switch {
			case header == "Content-Length" && strings.HasPrefix(a.header.Get("Content-Type"), "application/json"): // ids of requests differ in length
			case a.status == 304 && header == "Last-Modified", (a.status == 206 || a.status == 416) && header == "Accept-Ranges":
			case a.status == 412 && (header == "Etag" || header == "Last-Modified"):
			default:
				f.t.Errorf("%s: %s is %q, of the server %q", name, header, got, want)
			}
		}
	}
}

func merged(a, b http.Header) http.Header {
	all := a.Clone()
	maps.Copy(all, b)
	return all
}

// wantSecured looks for the headers of every answer: those of the server, but for what nginx says otherwise.
func wantSecured(t *testing.T, name string, h, direct http.Header, overTLS bool) {
	t.Helper()
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "X-Xss-Protection": "1; mode=block", "Referrer-Policy": "no-referrer", "X-Request-Id": h.Get("X-Request-Id"),
	}
	if direct != nil {
		want["Content-Security-Policy"] = strings.Replace(direct.Get("Content-Security-Policy"), "frame-ancestors 'none'", "frame-ancestors 'self'", 1)
		want["Cross-Origin-Resource-Policy"] = direct.Get("Cross-Origin-Resource-Policy")
	}
	if overTLS {
		want["Strict-Transport-Security"] = "max-age=31536000"
	}
	for header, value := range want {
		if got := h.Values(header); len(got) != 1 || got[0] != value || value == "" {
			t.Errorf("%.60q: %s is %q, want %q", name, header, got, value)
		}
	}
	for header, values := range h {
		if len(values) > 1 {
			t.Errorf("%.60q: %s is there %d times: %q", name, header, len(values), values)
		}
	}
	if got := h.Get("Strict-Transport-Security"); !overTLS && got != "" {
		t.Errorf("%.60q: HSTS over HTTP: %q", name, got)
	}
	if server := h.Get("Server"); server != "nginx" {
		t.Errorf("%.60q: Server tells %q", name, server)
	}
}

// atOnce sends so many requests at the same time, and counts the answers by status. Refusals must be whole.
func (f *front) atOnce(n int, method, target string, headers ...string) map[int]int {
	f.t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	counts := map[int]int{}
	for range n {
		group.Go(func() {
			a, err := f.try(method, target, nil, append(headers, "Origin", "https://clinic.example")...)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.t.Error(err)
			}
			counts[a.status]++
			if a.status != http.StatusTooManyRequests {
				return
			}
			wantSecured(f.t, "a refusal", a.header, nil, false)
			if a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), `"too_many_requests"`) || a.header.Get("Content-Type") != "application/json" ||
				a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "https://clinic.example" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
				f.t.Errorf("refused with %v %s", a.header, a.body)
			}
			if strings.HasPrefix(target, "/media/videos/") != (a.header.Get("X-Cache-Status") == "BYPASS") {
				f.t.Errorf("%s: X-Cache-Status %q", target, a.header.Get("X-Cache-Status"))
			}
		})
	}
	group.Wait()
	return counts
}

// Each kind of request has its own limit: what comes beyond the burst at once is refused, and what comes one after another never.
func TestNginxLimits(t *testing.T) {
	f := startFront(t, "CORS_ORIGINS=https://clinic.example", "RATE_UPLOAD=2", "RATE_UPLOAD_BURST=3", "RATE_API=5", "RATE_API_BURST=6", "RATE_MEDIA=5", "RATE_MEDIA_BURST=4", "RATE_PIECES_BURST=5")
	id := f.store(1000, anHLS())
	link := f.sign(id, "hls/240p_000.ts")
	f.do(200, "GET", link, nil)
	time.Sleep(2 * time.Second) // in which what was asked is forgotten
	for target, most := range map[string]int{"/videos": 7, link: 5, f.sign(id, "metadata"): 5} {
		if counts := f.atOnce(25, "GET", target); counts[429] < 25-most-5 || counts[200] < most-2 || counts[429]+counts[200] != 25 {
			t.Errorf("%.30s: %v, and %d may come at once", target, counts, most)
		}
		time.Sleep(2 * time.Second)
	}
	if counts := f.atOnce(20, "POST", "/uploads", "Tus-Resumable", "1.0.0", "Upload-Length", "5"); counts[201] < 3 || counts[201] > 8 || counts[429] != 20-counts[201] {
		t.Errorf("uploads: %v", counts)
	}
	for range 8 {
		f.do(200, "GET", "/videos", nil)
	}
}

// An address has so many requests that are answered at once, and no more.
func TestNginxLimitsConnections(t *testing.T) {
	f := startFront(t, "CORS_ORIGINS=https://clinic.example", "RATE_CONNECTIONS=3", "RATE_PIECES_BURST=50", "RATE_UPLOAD=1000")
	location, err := f.create(100)
	if err != nil {
		t.Fatal(err)
	}
	var held []*io.PipeWriter
	var group sync.WaitGroup
	for range 3 {
		body, w := io.Pipe()
		held = append(held, w)
		other, err := f.create(100)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			_, _ = f.try("PATCH", other, body, "Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
		})
		_, _ = w.Write([]byte("the beginning"))
	}
	refused := func() bool { return f.atOnce(1, "GET", "/videos")[429] == 1 }
	for range 100 {
		if refused() {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !refused() {
		t.Error("a fourth request is answered while three are")
	}
	for _, w := range held {
		_ = w.Close()
	}
	group.Wait()
	f.do(200, "HEAD", location, nil, "Tus-Resumable", "1.0.0")
}

// Clients that send small pieces as fast as they can get through, several side by side too; it only takes longer.
func TestNginxLetsUploadsInSmallPiecesThrough(t *testing.T) {
	f := startFront(t, "RATE_CONNECTIONS=20")
	content := asVideo(randomBytes(30_000))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			var location string
			var err error
			for { // a browser would wait as Retry-After says
				if location, err = f.create(len(content)); err == nil || !strings.Contains(err.Error(), "429") {
					break
				}
				time.Sleep(time.Second)
			}
			if err == nil {
				_, err = f.resume(location, content, 5000)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	delayed := 0
	for _, line := range f.lines() {
		if line.Limited == "DELAYED" {
			delayed++
		}
		if line.Method == "PATCH" && line.Status != http.StatusNoContent {
			t.Errorf("a piece was answered with %d", line.Status)
		}
	}
	if delayed == 0 {
		t.Error("nothing was slowed down")
	}
}

// The official JavaScript client gets through as well, with several uploads side by side; it gives up at a 429.
func TestNginxLetsTusJSClientsThrough(t *testing.T) {
	dir := installTusJS(t)
	f := startFront(t)
	content := asVideo(randomBytes(5 << 20))
	file := filepath.Join(t.TempDir(), "video.mp4")
	f.write(file, string(content))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			cmd := exec.CommandContext(ctx, "node", "upload.js", f.url+"/uploads", file)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CHUNK_SIZE="+strconv.Itoa(200_000))
			var complaints bytes.Buffer
			cmd.Stderr = &complaints
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("a client gives up: %v\n%s", err, &complaints)
				return
			}
			address, err := url.Parse(strings.TrimSpace(string(out)))
			if err != nil {
				t.Error(err)
				return
			}
			wantFinalized(f.client, address.Path, content)
		})
	}
	group.Wait()
}

// An upload goes on to the server while it comes in: nginx keeps none of it.
func TestNginxPassesUploadsOn(t *testing.T) {
	f := startFront(t)
	const size = 32 << 20
	location, err := f.create(size)
	if err != nil {
		t.Fatal(err)
	}
	body, w := io.Pipe()
	done := make(chan answer, 1)
	go func() {
		a, _ := f.try("PATCH", location, body, "Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
		done <- a
	}()
	_, _ = w.Write(make([]byte, size/2))
	path := filepath.Join(f.root, "uploads", filepath.Base(location))
	arrived := false
	for range 200 {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			arrived = true
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	_, _ = w.Write(make([]byte, size/2))
	_ = w.Close()
	if a := <-done; a.status != http.StatusNoContent || !arrived {
		t.Errorf("%d %s, and its beginning had arrived: %t", a.status, a.body, arrived)
	}
}

// TLS 1.2 and 1.3 with good ciphers and HTTP/2; nothing older. Whoever comes by it is told to keep to it.
func TestNginxSpeaksTLS(t *testing.T) {
	f := startFront(t, "HTTP_REDIRECT=true", "SERVER_NAME=video.clinic.example", "HTTPS_PORT=8443")
	for version, works := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		resp, err := f.overTLS(&tls.Config{MinVersion: version, MaxVersion: version}).Get("https://" + f.tls + "/healthz")
		if err != nil {
			if works {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
			continue
		}
		_ = resp.Body.Close()
		if !works || resp.ProtoMajor != 2 || resp.StatusCode != 200 {
			t.Errorf("%s: %s %s", tls.VersionName(version), resp.Proto, resp.Status)
		}
		wantSecured(t, "over TLS", resp.Header, nil, true)
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS13) {
			continue
		}
		resp, err := f.overTLS(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}}).Get("https://" + f.tls + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		good := strings.HasPrefix(s.Name, "TLS_ECDHE_ECDSA_") && (strings.Contains(s.Name, "_GCM_") || strings.Contains(s.Name, "_POLY1305")) // the certificate's kind
		if (err == nil) != good {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	redirected := client{t, "http://" + f.plain}
	http.DefaultClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() { http.DefaultClient.CheckRedirect = nil })
	a := redirected.do(308, "GET", "/videos?limit=1", nil)
	if got := a.header.Get("Location"); got != "https://video.clinic.example:8443/videos?limit=1" {
		t.Errorf("sent to %s", got)
	}
	wantSecured(t, "a redirect", a.header, nil, false)
}

// Until HTTP_REDIRECT is set, HTTP serves too; /health and /metrics answer, the latter for addresses inside only.
func TestNginxServesHTTPUntilItIsToldOtherwise(t *testing.T) {
	f := prepareFront(t)
	folder := f.render(nil)
	f.startNginx(folder)
	outside := client{t, "http://" + f.plain}
	outside.do(200, "GET", "/health", nil)
	if a := outside.do(200, "GET", "/metrics", nil); !strings.Contains(string(a.body), "pulsevault_uploads_total") {
		t.Errorf("%.200s", a.body)
	}
	inside := client{t, "http://" + f.inside}
	if a := inside.do(200, "GET", "/nginx/metrics", nil); !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version=0.0.4") || !strings.Contains(string(a.body), "\nnginx_connections_active ") {
		t.Errorf("%v %s", a.header, a.body)
	}
	inside.do(200, "GET", "/nginx/health", nil)
	inside.do(404, "GET", "/videos", nil)
	// The same, where 127.0.0.1 is not inside.
	config := filepath.Join(folder, "conf.d", "20-front.conf")
	f.write(config, strings.Replace(f.read(config), "127.0.0.0/8 1;", "", 1))
	f.plain, f.tls, f.inside = freeAddress(t), freeAddress(t), freeAddress(t)
	f.restartElsewhere(folder, outside.url[len("http://"):])
	outside.url = "http://" + f.plain
	if a := outside.do(403, "GET", "/metrics", nil); !strings.Contains(string(a.body), `"forbidden"`) {
		t.Errorf("%s", a.body)
	}
	outside.do(200, "GET", "/health", nil)
}

// restartElsewhere starts another nginx with the same configuration, on the addresses that f now has.
func (f *front) restartElsewhere(folder, before string) {
	f.t.Helper()
	for _, name := range []string{"20-front.conf", "30-internal.conf"} {
		path := filepath.Join(folder, "conf.d", name)
		var text strings.Builder
		for line := range strings.Lines(f.read(path)) {
			word := strings.TrimSpace(line)
			switch {
			case !strings.HasPrefix(word, "listen "):
			case name == "30-internal.conf":
				line = "listen " + f.inside + ";\n"
			case strings.Contains(word, before):
				line = "listen " + f.plain + ";\n"
			default:
				line = "listen " + f.tls + " ssl;\n"
			}
			text.WriteString(line)
		}
		f.write(path, text.String())
	}
	main := filepath.Join(folder, "nginx.conf")
	f.write(main, strings.Replace(f.read(main), "/nginx.pid", "/other.pid", 1))
	f.startNginx(folder)
}

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
	lines := f.lines()
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

// A bad setting stops the start with one line that names it.
func TestNginxSettingsAreChecked(t *testing.T) {
	f := &front{client: client{t: t}}
	if env, err := f.environment(nil); err != nil || env["RATE_UPLOAD"] != "10" || env["CORS_ORIGINS"] != "" {
		t.Errorf("%v, %v", env, err)
	}
	for _, setting := range []string{
		"RATE_API=0", "RATE_API=10r/s", "RATE_API=1; }", "RATE_UPLOAD=\n10", "SERVER_NAME=a b", "HTTP_REDIRECT=yes", "HTTPS_PORT=https", "TLS_CERTIFICATE=relative", "TLS_CERTIFICATE=/a;b",
		"CORS_ORIGINS=clinic.example", `CORS_ORIGINS=https://a";`, "MEDIA_CACHE_SIZE=10GB", "MEDIA_CACHE_TIME=x", "PULSEVAULT_ADDR=http://x", "AUDIT_IP=none", "RATE_CONNECTIONS=-1",
	} {
		name, value, _ := strings.Cut(setting, "=")
		if _, err := f.environment([]string{setting}); err == nil || !strings.Contains(err.Error(), name+"=\""+value+`" is not allowed: it must be `) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, setting := range []string{"CORS_ORIGINS=*", "CORS_ORIGINS=https://a.example, http://b.example:8080", "SERVER_NAME=video.clinic.example", "PULSEVAULT_ADDR=172.30.0.10:3000", "LISTEN_HTTP=[::]:8080"} {
		if _, err := f.environment([]string{setting}); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
