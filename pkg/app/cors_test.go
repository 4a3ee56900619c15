package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pulsevault/pkg/app"
)

// A page of CORS_ORIGINS may use every route, with every method it has, signed in or not, and read what it needs of the
// answers; any other page may use none.
func TestPagesOfCORSOriginsMayUseEveryRoute(t *testing.T) {
	const clinic = "https://clinic.example"
	a, _ := newApp(t, map[string]string{"CORS_ORIGINS": clinic + ",https://other.example:8443"})
	h := a.Handler(app.Server...)
	asks := 0
	for _, route := range append(app.Routes(), app.Route{Methods: []string{"GET", "DELETE"}, Path: "/videos/{id}"}) {
		target := strings.NewReplacer("{id}", "0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f", "{path+}", "hls/master.m3u8").Replace(route.Path)
		for _, method := range route.Methods {
			for origin, allowed := range map[string]bool{
				clinic: true, "https://other.example:8443": true, "https://evil.example": false, "http://clinic.example": false,
				"https://clinic.example.evil.example": false, "https://clinic.example:444": false, "null": false,
			} {
				asks++
				w := ask(h, "OPTIONS", target, "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization")
				wantPreflight(t, w, method+" "+target+" from "+origin, origin, method, allowed)
			}
		}
	}
	if asks < 50 {
		t.Errorf("only %d preflights", asks)
	}
	for _, header := range []string{
		"authorization", "content-type", "range", "tus-resumable", "upload-checksum", "upload-length", "upload-metadata", "upload-offset", "x-http-method-override", "x-user-id",
	} {
		w := ask(h, "OPTIONS", "/uploads", "Origin", clinic, "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", header)
		if got := w.Header().Get("Access-Control-Allow-Headers"); got != header {
			t.Errorf("a page may not send %s: %q", header, got)
		}
	}
	exposed := strings.ToLower(ask(h, "GET", "/", "Origin", clinic).Header().Get("Access-Control-Expose-Headers"))
	for _, header := range []string{"location", "upload-offset", "upload-expires", "retry-after", "x-request-id", "etag", "content-range", "www-authenticate"} {
		if !strings.Contains(exposed, header) {
			t.Errorf("a page may not read %s: %s", header, exposed)
		}
	}
}

func wantPreflight(t *testing.T, w *httptest.ResponseRecorder, name, origin, method string, allowed bool) {
	t.Helper()
	h, want := w.Header(), ""
	if allowed {
		want = origin
	}
	if got := h.Get("Access-Control-Allow-Origin"); w.Code != http.StatusNoContent || got != want || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%s: %d, Access-Control-Allow-Origin %q", name, w.Code, got)
	}
	if !strings.Contains(h.Get("Vary"), "Origin") {
		t.Errorf("%s: Vary %q", name, h.Get("Vary"))
	}
	if allowed && (h.Get("Access-Control-Allow-Methods") != method || h.Get("Access-Control-Allow-Headers") != "authorization") {
		t.Errorf("%s: allowed are %q, %q", name, h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"))
	}
}

// Without CORS_ORIGINS no page of another origin may do anything, and with * any may.
func TestCORSIsOffUnlessItIsAskedFor(t *testing.T) {
	for origins, want := range map[string]string{"": "", "*": "*"} {
		a, _ := newApp(t, map[string]string{"CORS_ORIGINS": origins})
		h := a.Handler(app.Server...)
		for _, method := range []string{"GET", "OPTIONS"} {
			w := ask(h, method, "/media/sign", "Origin", "https://clinic.example", "Access-Control-Request-Method", "POST")
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("CORS_ORIGINS=%q, %s: Access-Control-Allow-Origin %q", origins, method, got)
			}
		}
	}
}
