package main_test

import (
	"regexp"
	"strings"
	"testing"

	"pulsevault/pkg/redisdb/redistest"
)

var tellsAt = regexp.MustCompile(`health and metrics are told" addr=(\S+)`)

// monitored starts a worker that tells of itself, and waits for the address.
func monitored(t *testing.T, root string, settings ...string) (p *process, url string) {
	t.Helper()
	p = start(t, "worker", root, append(settings, "METRICS_ADDR=127.0.0.1:0")...)
	var m []string
	comesTrue(func() bool {
		m = tellsAt.FindStringSubmatch(p.said())
		return m != nil || p.ended(0)
	})
	if m == nil {
		t.Fatalf("the worker does not tell:\n%s", p.said())
	}
	return p, "http://" + m[1]
}

// A worker with an address of its own says whether it is well and what it does, and ends in order; one whose address is taken
// says so.
func TestAWorkerTellsOfItself(t *testing.T) {
	root, redis := t.TempDir(), redistest.Mini(t)
	settings := []string{"REDIS_HOST=" + redis.Host(), "REDIS_PORT=" + redis.Port(), "WORKER_CONCURRENCY=2"}
	p, url := monitored(t, root, settings...)
	c := client{t, url}
	c.do(200, "GET", "/healthz", nil)
	if a := c.do(200, "GET", "/readyz", nil); !strings.Contains(string(a.body), `"ffmpeg":"ok"`) {
		t.Errorf("ready without ffmpeg: %s", a.body)
	}
	if a := c.do(200, "GET", "/metrics", nil); !strings.Contains(string(a.body), "\npulsevault_worker_concurrency 2\n") {
		t.Errorf("the metrics are not those of this worker: %s", a.body)
	}
	c.do(404, "POST", "/uploads", nil)
	code, out := run(t, root, append(settings, "METRICS_ADDR="+strings.TrimPrefix(url, "http://")), "worker")
	if code != 1 || !strings.Contains(out, "set METRICS_ADDR to a free port") {
		t.Errorf("at an address that is taken: exit status %d: %s", code, out)
	}
	redis.Close()
	c.do(503, "GET", "/readyz", nil)
	c.do(200, "GET", "/healthz", nil)
	p.stop()
}
