package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/vault"
)

// Observer stands around all handlers of a host. It refuses paths that hosts read differently, gives each request an id and
// each answer its security headers, writes a log line and counts.
type Observer struct {
	Log            *slog.Logger
	TrustedProxies []netip.Prefix // whose word in X-Forwarded-For is taken
	OtherOrigins   bool           // pages of other origins may show media
	Metrics        *Metrics
}

// Metrics counts requests by route and status.
type Metrics struct {
	duration *prometheus.HistogramVec
	bytes    prometheus.Counter
}

// NewMetrics registers the metrics of HTTP requests.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pulsevault_http_request_duration_seconds", Help: "Time from a request's headers to the end of its answer.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 600},
		}, []string{"route", "method", "status"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pulsevault_bytes_served_total", Help: "Bytes of answers' bodies.",
		}),
	}
	reg.MustRegister(m.duration, m.bytes)
	return m
}

type exchangeKey struct{}

// exchange is what is known about one request while it is answered.
type exchange struct {
	id        string
	client    string
	fromProxy bool
	log       *slog.Logger
}

// isRequestID reports whether an id that a client gives to its request is taken.
func isRequestID(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
	return len(s) >= 8 && len(s) <= 64 && strings.Trim(s, letters) == ""
}

// methods are those that the metrics tell apart.
var methods = []string{"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"}

// Wrap returns h inside the Observer. Inside it, r.Pattern names the route for the metrics.
func (o *Observer) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		x := &exchange{id: r.Header.Get("X-Request-Id"), log: o.Log}
		x.client, x.fromProxy = o.client(r)
		if !isRequestID(x.id) {
			x.id = uuid.Must(uuid.NewV7()).String()
			r.Header.Set("X-Request-Id", x.id)
		}
		w.Header().Set("X-Request-Id", x.id)
		Secure(w.Header(), r, o.OtherOrigins)
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		if r.ContentLength != 0 {
			rec.rest = &rest{ReadCloser: r.Body}
			r.Body = rec.rest
		}
		defer func() { o.done(rec, r, x, time.Since(start), recover()) }()
		if !PlainPath(r.URL) {
			Handler(NotFound).ServeHTTP(rec, r)
			return
		}
		h.ServeHTTP(rec, r)
	})
}

func (o *Observer) done(rec *recorder, r *http.Request, x *exchange, took time.Duration, panicked any) {
	if panicked != nil && panicked != http.ErrAbortHandler {
		o.Log.ErrorContext(r.Context(), "handler panicked", "requestId", x.id, "panic", panicked)
		if !rec.wrote {
			Fail(rec, r, vault.Errorf(vault.Internal, "internal_error", "something went wrong here"))
		}
	}
	rec.begin()
	route, method := r.Pattern, r.Method
	if route == "" {
		route = "none"
	}
	if !slices.Contains(methods, method) {
		method = "other"
	}
	o.Metrics.duration.WithLabelValues(route, method, strconv.Itoa(rec.status)).Observe(took.Seconds())
	o.Metrics.bytes.Add(float64(rec.bytes))
	if l := level(r, rec.status); o.Log.Enabled(r.Context(), l) {
		o.line(r, x, rec, l, took)
	}
	if panicked == http.ErrAbortHandler {
		panic(panicked)
	}
}

// line writes the log line of a request.
func (o *Observer) line(r *http.Request, x *exchange, rec *recorder, l slog.Level, took time.Duration) {
	o.Log.LogAttrs(r.Context(), l, "request", slog.String("requestId", x.id), slog.String("method", r.Method),
		slog.String("path", r.URL.Path), slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes), slog.Duration("took", took))
}

// level keeps what happens many times a second, and is in the audit log anyway, out of the ordinary log. The query, which
// may hold a token, is never logged.
func level(r *http.Request, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case status >= http.StatusBadRequest:
		return slog.LevelInfo
	case r.Method == http.MethodGet || r.Method == http.MethodHead || r.URL.Path == "/media/sign":
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// PlainPath reports whether every host routes the path alike, decoded or not.
func PlainPath(u *url.URL) bool {
	return plain(u.Path) && (u.RawPath == "" || plain(u.EscapedPath())) &&
		!strings.Contains(u.Path, "..") && !strings.Contains(u.Path, "//") && !strings.Contains(u.Path+"/", "/./")
}

// plain reports whether a path is absolute and has nothing that any host would escape. It is asked for every request, for
// which a regular expression would take as long as signing does.
func plain(path string) bool {
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '~', c == '/', c == '-':
		default:
			return false
		}
	}
	return path != "" && path[0] == '/'
}

// Client returns the address of the request's client: the last hop that is not a trusted proxy.
func Client(r *http.Request) string {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return x.client
	}
	return ""
}

// FromProxy reports whether a trusted proxy has sent the request, so that what it says of it may be believed.
func FromProxy(r *http.Request) bool {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	return ok && x.fromProxy
}

// client returns the address of a request's client, and whether a trusted proxy has sent the request.
func (o *Observer) client(r *http.Request) (client string, fromProxy bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	addr := peer.Addr().Unmap()
	if err != nil {
		if addr, err = netip.ParseAddr(r.RemoteAddr); err != nil {
			return "", false
		}
	}
	fromProxy = o.trusted(addr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && o.trusted(addr); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
	}
	return addr.String(), fromProxy
}

func (o *Observer) trusted(addr netip.Addr) bool {
	for _, p := range o.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// recorder remembers the status and length of an answer. It passes ReadFrom on, so that files still go out by sendfile.
type recorder struct {
	http.ResponseWriter
	rest   *rest // nil if the request has no body
	status int
	bytes  int64
	wrote  bool
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begin sees to it that an answer does not wait for ever for what its request still has to bring: net/http reads up to
// 256 KiB of that first. The next request of the connection has deadlines of its own.
func (w *recorder) begin() {
	if !w.wrote && w.rest != nil && !w.rest.ended {
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(restTimeout)) // not every host has one
	}
	w.wrote = true
}

func (w *recorder) WriteHeader(status int) {
	if !w.wrote && status >= http.StatusOK {
		w.begin()
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

func (w *recorder) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// restTimeout is for how long a body that nobody reads may go on when its request is answered.
const restTimeout = 10 * time.Second

// rest knows whether there may be more of a body than has been read.
type rest struct {
	io.ReadCloser
	ended bool
}

func (b *rest) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err != nil
	return n, err
}
