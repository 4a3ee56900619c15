package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
)

// metric is the value of a series in an answer to GET /metrics.
func metric(t *testing.T, text, series string) (value float64, found bool) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	value, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value, true
}

func scrape(t *testing.T, a *app.App, target string) string {
	t.Helper()
	w := ask(a.Handler(app.Health), http.MethodGet, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d", target, w.Code)
	}
	return w.Body.String()
}

func TestMetricsOfTheSurroundings(t *testing.T) {
	a, _ := newApp(t, map[string]string{"WORKER_CONCURRENCY": "3"})
	text := scrape(t, a, "/metrics")
	for series, want := range map[string]float64{
		`pulsevault_worker_tasks_running{type="transcode"}`: 0, `pulsevault_worker_tasks_running{type="piece"}`: 0, "pulsevault_worker_concurrency": 3,
		`pulsevault_build_info{goversion="` + runtime.Version() + `",version="dev"}`: 1,
	} {
		if got, found := metric(t, text, series); !found || got != want {
			t.Errorf("%s is %v %v, want %v", series, got, found, want)
		}
	}
	for _, folder := range []string{"uploads", "videos", "audit"} {
		size, _ := metric(t, text, `pulsevault_volume_size_bytes{folder="`+folder+`"}`)
		free, found := metric(t, text, `pulsevault_volume_free_bytes{folder="`+folder+`"}`)
		if runtime.GOOS == "linux" && (!found || size < 1<<20 || free > size) {
			t.Errorf("%s: %v bytes free of %v", folder, free, size)
		}
	}
	redis := scrape(t, a, "/metrics/redis")
	if up, _ := metric(t, redis, "redis_up"); up != 1 || strings.Contains(redis, "pulsevault_") {
		t.Errorf("of Redis: %s", redis)
	}
}

// A file system that does not answer holds up neither the scrape nor what is known of others, and is not asked again meanwhile.
func TestAVolumeThatHangs(t *testing.T) { synctest.Test(t, volumeThatHangs) }

func volumeThatHangs(t *testing.T) {
	asked, answers := make(chan string, 10), make(chan struct{})
	volumes := app.Volumes(func(dir string) (size, free int64, ok bool) {
		asked <- dir
		if dir == "hangs" {
			<-answers
		}
		return 100, 20, dir != "unknown"
	}, "hangs", "videos", "unknown")
	want := `
# HELP pulsevault_volume_free_bytes What may still be written to the file system that holds a folder.
# TYPE pulsevault_volume_free_bytes gauge
pulsevault_volume_free_bytes{folder="videos"} 20
`
	for range 2 {
		if err := testutil.CollectAndCompare(volumes, strings.NewReader(want), "pulsevault_volume_free_bytes"); err != nil {
			t.Error(err)
		}
	}
	close(answers)
	synctest.Wait()
	hung := 0
	for range len(asked) {
		if <-asked == "hangs" {
			hung++
		}
	}
	if hung != 1 {
		t.Errorf("what hangs was asked %d times", hung)
	}
}

func TestTheCertificateThatIsServed(t *testing.T) {
	served := httptest.NewTLSServer(http.NotFoundHandler())
	addr := served.Listener.Addr().String()
	a, _ := newApp(t, map[string]string{"TLS_PROBE": addr})
	text := scrape(t, a, "/metrics")
	seen, _ := metric(t, text, "pulsevault_certificate_probe_success")
	until, _ := metric(t, text, "pulsevault_certificate_not_after_timestamp_seconds")
	if seen != 1 || until != float64(served.Certificate().NotAfter.Unix()) {
		t.Errorf("seen %v, until %v, want %v", seen, until, served.Certificate().NotAfter.Unix())
	}
	served.Close()
	text = scrape(t, a, "/metrics")
	if seen, found := metric(t, text, "pulsevault_certificate_probe_success"); seen != 0 || !found || strings.Contains(text, "not_after") {
		t.Errorf("nobody listens, and it was seen: %v", seen)
	}
}

// A worker tells on an address of its own whether it is well. There the version may be told, which is not told to everybody where
// people must say who they are.
func TestMonitoringOfAWorker(t *testing.T) {
	a, _ := newApp(t, map[string]string{"AUTH_MODE": "apikey"})
	if err := a.CanWork(t.Context()); err != nil { // ffmpeg is looked at for once; it may be slow to start
		t.Fatal(err)
	}
	if strings.Contains(scrape(t, a, "/metrics"), "pulsevault_build_info") {
		t.Error("everybody is told the version")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.ServeMonitoring(ctx, l) }()
	for target, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/uploads": 404, "/media/sign": 404, "/videos": 404} {
		resp, err := http.Get("http://" + l.Addr().String() + target)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want || target == "/metrics" && !strings.Contains(string(body), `pulsevault_build_info{`) {
			t.Errorf("%s: %d, want %d: %s", target, resp.StatusCode, want, body)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A server reads its audit log now and then, and what it finds is in the metrics soon.
func TestTheAuditLogIsChecked(t *testing.T) {
	a, c := newApp(t, map[string]string{"AUDIT_CHECK_INTERVAL": "10ms"})
	a.Started(t.Context(), "serve")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.RunAuditChecks(ctx)
	}()
	checked := func(want func(findings, entries float64) bool) {
		t.Helper()
		var text string
		for range 6000 {
			text = scrape(t, a, "/metrics")
			findings, found := metric(t, text, "pulsevault_audit_check_findings")
			entries, _ := metric(t, text, "pulsevault_audit_check_entries")
			if found && want(findings, entries) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("it is not as wanted:\n%s", text)
	}
	checked(func(findings, entries float64) bool { return findings == 0 && entries > 0 })
	if every, _ := metric(t, scrape(t, a, "/metrics"), "pulsevault_audit_check_interval_seconds"); every != 0.01 {
		t.Errorf("checked every %v s", every)
	}
	files, err := filepath.Glob(filepath.Join(c.AuditDir, string(audit.Admin)+"-*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	line, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], []byte(strings.Replace(string(line), "process.started", "process.Started", 1)), 0o640); err != nil {
		t.Fatal(err)
	}
	checked(func(findings, _ float64) bool { return findings > 0 })
	cancel()
	<-ended
}

// Whatever is registered is registered well: a registry that looks closely takes it all.
func TestCollectorsKeepTheirWord(t *testing.T) {
	a, _ := newApp(t, nil)
	problems, err := testutil.GatherAndLint(prometheus.Gatherer(a.Registry))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "pulsevault_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
