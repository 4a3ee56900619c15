package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Every answer has the security headers once each, whoever gives it: a handler, tusd, the file server, a refusal before
// routing, a preflight.
func TestEveryAnswerIsSecured(t *testing.T) {
	h, link := segmentHandler(t, map[string]string{"CORS_ORIGINS": "https://clinic.example"}, 1000)
	tus := []string{"Tus-Resumable", "1.0.0", "Upload-Length", "5"}
	created := ask(h, "POST", "/uploads", tus...)
	seen := map[int]bool{}
	for _, x := range []struct {
		method, target string
		headers        []string
	}{
		{"GET", "/", nil}, {"GET", "/healthz", nil}, {"GET", "/readyz", nil}, {"GET", "/metrics", nil}, {"GET", "/metrics/redis", nil},
		{"GET", "/nothing", nil}, {"GET", "/a/../b", nil}, {"GET", "/uploads//x", nil}, {"DELETE", "/", nil}, {"BREW", "/", nil},
		{"POST", "/media/sign", nil}, {"POST", "/uploads/finalize", nil}, {"GET", "/media/videos/x", nil},
		{"POST", "/uploads", tus}, {"POST", "/uploads", nil}, {"POST", "/uploads", []string{"Tus-Resumable", "1.0.0", "Upload-Length", "99999999999999"}},
		{"OPTIONS", "/uploads", nil}, {"HEAD", created.Header().Get("Location"), tus}, {"PATCH", created.Header().Get("Location"), tus},
		{"DELETE", created.Header().Get("Location"), tus},
		{"GET", link, nil}, {"HEAD", link, nil}, {"GET", link, []string{"Range", "bytes=1-2"}}, {"GET", link, []string{"Range", "bytes=1-2,4-5"}},
		{"GET", link, []string{"Range", "bytes=2000-"}}, {"GET", link, []string{"If-None-Match", "*"}}, {"GET", link, []string{"If-Match", `"x"`}},
		{"GET", link + "x", nil}, {"GET", strings.Replace(link, "240p_000", "none", 1), nil},
		{"OPTIONS", "/media/sign", []string{"Origin", "https://clinic.example", "Access-Control-Request-Method", "POST"}},
	} {
		r := httptest.NewRequest(x.method, "/", nil)
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(x.target, "?")
		for i := 0; i < len(x.headers); i += 2 {
			r.Header.Set(x.headers[i], x.headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		wantSecured(t, x.method+" "+x.target, w.Header())
		if got := w.Header().Get("Cross-Origin-Resource-Policy"); got != "cross-origin" {
			t.Errorf("%s %s: Cross-Origin-Resource-Policy %q", x.method, x.target, got)
		}
		seen[w.Code] = true
	}
	for _, status := range []int{200, 201, 204, 206, 304, 400, 401, 404, 405, 412, 413, 416} {
		if !seen[status] {
			t.Errorf("no answer had status %d: %v", status, seen)
		}
	}
}

// wantSecured looks for the headers of every answer.
func wantSecured(t *testing.T, name string, h http.Header) {
	t.Helper()
	for header, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; ", "Cross-Origin-Resource-Policy": "", "X-Request-Id": "",
	} {
		if got := h.Values(header); len(got) != 1 || !strings.HasPrefix(got[0], want) || got[0] == "" {
			t.Errorf("%.60q: %s is %q", name, header, got)
		}
	}
	for _, header := range []string{"Server", "X-Powered-By", "Via"} {
		if h.Get(header) != "" {
			t.Errorf("%.60q: %s tells %q", name, header, h.Get(header))
		}
	}
}
