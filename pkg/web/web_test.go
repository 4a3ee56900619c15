package web_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// serve answers one request with h inside an Observer, and returns the answer and what was logged.
func serve(t *testing.T, h web.Handler, r *http.Request) (*httptest.ResponseRecorder, string) {
	t.Helper()
	var log bytes.Buffer
	o := &web.Observer{
		Log:            slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Metrics:        web.NewMetrics(prometheus.NewRegistry()),
	}
	mux := http.NewServeMux()
	mux.Handle("/", h)
	rec := httptest.NewRecorder()
	o.Wrap(mux).ServeHTTP(rec, r)
	return rec, log.String()
}

func TestErrorsBecomeStatusesAndTellNoSecrets(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"known":        {vault.Errorf(vault.Conflict, "upload_incomplete", "resume it"), 409, "upload_incomplete"},
		"wrapped":      {fmt.Errorf("finalize: %w", vault.Errorf(vault.NotFound, "upload_not_found", "none")), 404, "upload_not_found"},
		"not ours":     {errors.New("open /mnt/media/secret: permission denied"), 500, "internal_error"},
		"with a cause": {vault.Errorf(vault.Unavailable, "queue_unavailable", "try again").Because(errors.New("/mnt/media/secret")), 503, "queue_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			rec, log := serve(t, func(http.ResponseWriter, *http.Request) error { return tc.err }, httptest.NewRequest("GET", "/x", nil))
			body := rec.Body.String()
			if rec.Code != tc.status || !strings.Contains(body, `"code":"`+tc.code+`"`) || strings.Contains(body, "/mnt") {
				t.Errorf("%d %s", rec.Code, body)
			}
			if id := rec.Header().Get("X-Request-Id"); id == "" || !strings.Contains(body, id) || !strings.Contains(log, id) {
				t.Errorf("request id %q is not in the answer %s or not in the log %s", id, body, log)
			}
			if (tc.status == 503) != (rec.Header().Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", rec.Header().Get("Retry-After"))
			}
			if tc.status >= 500 && !strings.Contains(log, "/mnt/media/secret") {
				t.Errorf("the log does not tell the cause: %s", log)
			}
		})
	}
}

func TestPathsThatHostsReadDifferentlyAreRefusedBeforeRouting(t *testing.T) {
	for _, path := range []string{"/a..b", "/../x", "/x//y", "/./x", "/x/.", "/x/./y", "/%2e%2e/x", "/a%2Fb", "/a%20b", "/a;b", "/a:b", "/ä", "/a%00", "/a\\b", "/%41"} {
		r := httptest.NewRequest("GET", "/", nil)
		u, err := url.Parse("http://x" + path)
		if err != nil {
			continue
		}
		r.URL = u
		rec, _ := serve(t, func(http.ResponseWriter, *http.Request) error {
			t.Errorf("%s reaches a handler", path)
			return nil
		}, r)
		if rec.Code != 404 || rec.Header().Get("Location") != "" {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	type body struct {
		Name  string         `json:"name"`
		Count *int64         `json:"count"`
		More  map[string]any `json:"more"`
	}
	for in, status := range map[string]int{
		`{"name":"x","count":1}`: 200, `{}`: 200, ` {} `: 200,
		`{"name":5}`: 400, `{"count":0.5}`: 400, `{"count":"5"}`: 400, `{"more":[]}`: 400, `{"other":1}`: 400,
		`{"Name":"x"}`: 400, `{"NAME":"x"}`: 400, `{"name":"x","name":"y"}`: 400, `{"name":"x","Name":"y"}`: 400,
		`{"more":{"a":1,"A":2}}`: 200, `{"more":{"a":1,"a":2}}`: 400, `{"more":{"b":[{"a":{}},{"a":[],"c":"a"}],"a":"b"}}`: 200,
		`{"more":{"b":[{"a":{},"a":1}]}}`: 400, `{"more":{"a":1,"\u0061":2}}`: 400, `{"n\u0061me":"x"}`: 200,
		`{"more":{"a\"":"b\\","c":",\"a\":{","a":["a","a"]}}`: 200, `{"more":{"a":["\"",{}],"a":1}}`: 400, "{\"name\":\"a\xff\"}": 400, `null`: 400, `true`: 400, `5`: 400,
		`{`: 400, `[]`: 400, `"x"`: 400, ``: 400, `{}x`: 400, `{}{}`: 400, `<html>`: 400,
		`{"name":"` + strings.Repeat("a", 70_000) + `"}`: 413, `{}` + strings.Repeat(" ", 70_000): 413,
	} {
		rec, _ := serve(t, func(w http.ResponseWriter, r *http.Request) error {
			var b body
			if err := web.DecodeJSON(w, r, &b); err != nil {
				return err
			}
			web.JSON(w, r, 200, b)
			return nil
		}, httptest.NewRequest("POST", "/x", strings.NewReader(in)))
		if rec.Code != status {
			t.Errorf("%.60s: %d, want %d: %s", in, rec.Code, status, rec.Body)
		}
	}
}

// deadlines remembers the read deadlines that are set.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

func TestOnlyTheBodyHasADeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	var b struct{}
	if err := web.DecodeJSON(w, httptest.NewRequest("POST", "/x", strings.NewReader("{}")), &b); err != nil {
		t.Fatal(err)
	}
	if len(w.set) != 2 || w.set[0].IsZero() || !w.set[1].IsZero() {
		t.Errorf("read deadlines %v", w.set)
	}
}

// What comes too slowly is not waited for once more: net/http would read on behind the answer.
func TestABodyThatBreaksOffKeepsItsDeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	var b struct{}
	r := httptest.NewRequest("POST", "/x", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(os.ErrDeadlineExceeded)))
	if err := web.DecodeJSON(w, r, &b); vault.KindOf(err) != vault.Invalid {
		t.Errorf("%v", err)
	}
	if len(w.set) != 1 || w.set[0].IsZero() {
		t.Errorf("read deadlines %v", w.set)
	}
}

// An answer that begins before its request's body has been read does not wait for it for ever.
func TestTheRestOfABodyHasADeadline(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		read int64
		want int
	}{"unread": {"12345", 0, 1}, "half read": {"12345", 3, 1}, "read": {"12345", 6, 0}, "none": {"", 0, 0}} {
		o := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h := web.Handler(func(_ http.ResponseWriter, r *http.Request) error {
			_, _ = io.CopyN(io.Discard, r.Body, tc.read)
			return vault.Errorf(vault.NotFound, "not_found", "none")
		})
		o.Wrap(h).ServeHTTP(w, httptest.NewRequest("POST", "/x", strings.NewReader(tc.body)))
		if len(w.set) != tc.want || w.Code != 404 {
			t.Errorf("%s: read deadlines %v, status %d", name, w.set, w.Code)
		}
	}
}

// A browser is told to come by TLS only where it has, and pages of other origins may show media only where some may use us.
func TestSecurityHeadersFitTheRequest(t *testing.T) {
	headers := func(target, proto string, tls *tls.ConnectionState, others bool) http.Header {
		r := httptest.NewRequest("GET", target, nil)
		r.TLS = tls
		if proto != "" {
			r.Header.Set("X-Forwarded-Proto", proto)
		}
		h := http.Header{}
		web.Secure(h, r, others)
		return h
	}
	for name, tc := range map[string]struct {
		proto string
		tls   *tls.ConnectionState
		want  string
	}{"plain": {"", nil, ""}, "plain at the proxy": {"http", nil, ""}, "TLS at the proxy": {"https", nil, "max-age=31536000"}, "TLS": {"", &tls.ConnectionState{}, "max-age=31536000"}} {
		if got := headers("/x", tc.proto, tc.tls, false).Get("Strict-Transport-Security"); got != tc.want {
			t.Errorf("%s: HSTS %q, want %q", name, got, tc.want)
		}
	}
	for others, want := range map[bool]string{false: "same-origin", true: "cross-origin"} {
		if got := headers("/x", "", nil, others).Get("Cross-Origin-Resource-Policy"); got != want {
			t.Errorf("Cross-Origin-Resource-Policy %q, want %q", got, want)
		}
	}
	for target, script := range map[string]bool{"/": true, "/media/videos/x/original.mp4": false} {
		policy := headers(target, "", nil, false).Get("Content-Security-Policy")
		if strings.Contains(policy, "script-src 'self'") != script || strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("%s: Content-Security-Policy %q", target, policy)
		}
	}
}

// What all requests share is never changed by one.
func TestSecurityHeadersAreShared(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Forwarded-Proto", "https")
	h := http.Header{}
	web.Secure(h, r, true)
	for name := range h {
		h.Add(name, "more")
	}
	again := http.Header{}
	web.Secure(again, r, true)
	for name, values := range again {
		if len(values) != 1 || cap(values) != 1 || values[0] == "more" {
			t.Errorf("%s: %q", name, values)
		}
	}
	if n := testing.AllocsPerRun(100, func() { web.Secure(again, r, true) }); n != 0 {
		t.Errorf("%v allocations for one answer", n)
	}
}

// A client reads its 413 whatever it is sending: it is not asked for a body that it says is too large, and while it sends
// one that it did not announce the connection ends in order, and not with a reset.
func TestTooLargeIsHeardWhileSending(t *testing.T) {
	o := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
	server := httptest.NewServer(o.Wrap(web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		var b struct{}
		return web.DecodeJSON(w, r, &b)
	})))
	t.Cleanup(server.Close)
	for _, length := range []string{"Content-Length: 10485760", "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n%s\r\n\r\n", length)
		answers := bufio.NewReader(conn)
		line, _ := answers.ReadString('\n')
		if strings.HasPrefix(line, "HTTP/1.1 100 ") && strings.HasPrefix(length, "Transfer") {
			_, _ = fmt.Fprintf(conn, "64000\r\n%s", strings.Repeat("a", 0x64000))
			_, _ = answers.ReadString('\n')
			line, _ = answers.ReadString('\n')
		}
		rest, err := io.ReadAll(answers)
		if !strings.HasPrefix(line, "HTTP/1.1 413 ") || err != nil || !bytes.Contains(rest, []byte("body_too_large")) {
			t.Errorf("%s: %q %s, %v", length, line, rest, err)
		}
	}
}

func TestClientIsTheLastHopThatIsNotTrusted(t *testing.T) {
	for _, tc := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:99", "", "192.0.2.1"},
		{"192.0.2.1:99", "198.51.100.7", "192.0.2.1"}, // a client may write what it likes there
		{"10.0.0.1:99", "198.51.100.7", "198.51.100.7"},
		{"10.0.0.1:99", "203.0.113.9, 198.51.100.7, 10.1.2.3", "198.51.100.7"},
		{"10.0.0.1:99", "garbage", "10.0.0.1"},
		{"10.0.0.1:99", "", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:99", "2001:db8::1", "2001:db8::1"},
	} {
		r := httptest.NewRequest("GET", "/x", nil)
		r.RemoteAddr = tc.peer
		if tc.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tc.forwarded)
		}
		serve(t, func(_ http.ResponseWriter, r *http.Request) error {
			if got := web.Client(r); got != tc.want {
				t.Errorf("%s forwarding for %q: %s, want %s", tc.peer, tc.forwarded, got, tc.want)
			}
			return nil
		}, r)
	}
}

func TestRequestIDOfAProxyIsKeptIfItIsOne(t *testing.T) {
	for given, kept := range map[string]bool{"0123456789abcdef": true, "short": false, "with space in it": false, strings.Repeat("x", 65): false} {
		r := httptest.NewRequest("GET", "/x", nil)
		r.Header.Set("X-Request-Id", given)
		rec, _ := serve(t, web.NotFound, r)
		if got := rec.Header().Get("X-Request-Id"); (got == given) != kept || got == "" {
			t.Errorf("given %q, answered %q", given, got)
		}
	}
}

func TestTokensAreNotLogged(t *testing.T) {
	_, log := serve(t, web.NotFound, httptest.NewRequest("GET", "/x?token=secret", nil))
	if !strings.Contains(log, `"path":"/x"`) || strings.Contains(log, "secret") {
		t.Errorf("log %s", log)
	}
}

func TestPanicIsAnErrorOfOurs(t *testing.T) {
	rec, log := serve(t, func(http.ResponseWriter, *http.Request) error { panic("boom") }, httptest.NewRequest("GET", "/x", nil))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "boom") || !strings.Contains(log, "boom") {
		t.Errorf("%d %s; log %s", rec.Code, rec.Body, log)
	}
}

func TestWrongMethodIsToldWhichAreRight(t *testing.T) {
	m := web.Methods{"POST": web.Handler(web.NotFound), "GET": web.Handler(web.NotFound)}
	rec, _ := serve(t, func(w http.ResponseWriter, r *http.Request) error { m.ServeHTTP(w, r); return nil }, httptest.NewRequest("PUT", "/x", nil))
	if rec.Code != 405 || rec.Header().Get("Allow") != "GET, POST" {
		t.Errorf("%d, Allow %q", rec.Code, rec.Header().Get("Allow"))
	}
}

// readerFrom is a connection that can send a file by itself.
type readerFrom struct {
	*httptest.ResponseRecorder
	asked bool
}

func (w *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	w.asked = true
	return io.Copy(w.ResponseRecorder, src)
}

func TestFilesStillGoOutBySendfile(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(reg)}
	w := &readerFrom{ResponseRecorder: httptest.NewRecorder()}
	mux := http.NewServeMux()
	mux.HandleFunc("/{name}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.ts", time.Time{}, strings.NewReader("12345"))
	})
	o.Wrap(mux).ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if !w.asked || w.Body.String() != "12345" {
		t.Errorf("ReadFrom asked: %v, body %q", w.asked, w.Body)
	}
	want := "# HELP pulsevault_bytes_served_total Bytes of answers' bodies.\n# TYPE pulsevault_bytes_served_total counter\npulsevault_bytes_served_total 5\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "pulsevault_bytes_served_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "pulsevault_http_request_duration_seconds"); n != 1 || err != nil {
		t.Errorf("%d routes counted, %v", n, err)
	}
}
