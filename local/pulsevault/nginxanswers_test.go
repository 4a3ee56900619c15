package main_test

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
			if told := a.header.Get("X-Cache-Status") != ""; told != strings.HasPrefix(x.target, "/media/videos/") {
				t.Errorf("%s: X-Cache-Status is %q", name, a.header.Get("X-Cache-Status"))
			}
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
	arrived := comesTrue(func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Size() > 0
	})
	_, _ = w.Write(make([]byte, size/2))
	_ = w.Close()
	if a := <-done; a.status != http.StatusNoContent || !arrived {
		t.Errorf("%d %s, and its beginning had arrived: %t", a.status, a.body, arrived)
	}
}
