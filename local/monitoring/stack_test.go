package monitoring_test

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"pulsevault/local/bench/rig"
)

// stack is a PulseVault with all that stands around it in docker-compose.yml, but for what is not installed here, and for Grafana
// and Alloy.
type stack struct {
	t                                                           *testing.T
	root                                                        string // media
	settings                                                    []string
	server, worker, front, inside, tls, prometheus, loki, redis string // addresses; where inside, tls or loki does not run, nobody listens there
	programs                                                    []*program
	viewer, uploader                                            string      // keys of ward-3 and mobile-1
	api                                                         *rig.Client // through nginx, where there is one, as an administrator
}

// startStack starts everything, and returns when Prometheus has read of each more than once.
func startStack(t *testing.T) *stack {
	t.Helper()
	if !installed("prometheus") || !installed("redis-server") {
		t.Skip("NOT TESTED: no prometheus or no redis-server is installed, so nobody has looked at what the dashboards show")
	}
	s := &stack{t: t, root: t.TempDir()}
	for _, address := range []*string{&s.server, &s.worker, &s.front, &s.inside, &s.tls, &s.prometheus, &s.loki, &s.redis} {
		*address = freeAddress(t)
	}
	s.startLoki()
	s.startRedis()
	s.startPulseVault()
	s.startNginx()
	s.startPrometheus()
	return s
}

func (s *stack) start(tag string, env []string, name string, args ...string) *program {
	s.t.Helper()
	p := start(s.t, "pulsevault-"+tag, env, name, args...)
	s.programs = append(s.programs, p)
	return p
}

const redisPassword = "a-password-of-redis"

func (s *stack) startRedis() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.redis)
	s.start("redis", nil, "redis-server", "--port", port, "--bind", host, "--dir", s.t.TempDir(), "--save", "",
		"--appendonly", "yes", "--maxmemory", "384mb", "--maxmemory-policy", "noeviction", "--requirepass", redisPassword)
	await(s.t, "redis listens", func() bool {
		c, err := net.Dial("tcp", s.redis)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// startPulseVault starts the server and a worker as compose does, but with limits that are soon reached and an audit log that is
// checked all the time.
func (s *stack) startPulseVault() {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.redis)
	s.settings = []string{
		"APP_ENV=production", "MEDIA_ROOT=" + s.root, "HMAC_SECRET=0123456789abcdef0123456789abcdef", "AUTH_MODE=apikey",
		"REDIS_HOST=" + host, "REDIS_PORT=" + port, "REDIS_PASSWORD=" + redisPassword, "TRUSTED_PROXIES=127.0.0.1",
		"RENDITIONS=240p", "PIECE_SECONDS=6", "MAX_UPLOAD_SIZE=67108864", "MAX_PENDING_BYTES=67108864", "AUDIT_CHECK_INTERVAL=1s",
	}
	_, port, _ = net.SplitHostPort(s.server)
	server := s.start("backend", append(s.settings, "PORT="+port, "WORKER_CONCURRENCY=0", "TLS_PROBE="+s.tls), binary, "serve")
	server.awaitAnswer(s.t, "http://"+s.server+"/readyz")
	worker := s.start("transcode-worker-1", append(s.settings, "METRICS_ADDR="+s.worker, "WORKER_CONCURRENCY=1"), binary, "worker")
	worker.awaitAnswer(s.t, "http://"+s.worker+"/readyz")
	s.api = &rig.Client{Base: "http://" + s.server, Key: s.key("front-desk", "admin,service")}
	s.viewer, s.uploader = s.key("ward-3", "viewer"), s.key("mobile-1", "uploader")
}

// key makes an API key.
func (s *stack) key(name, role string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), binary, "keys", "create", "--name", name, "--role", role)
	cmd.Dir, cmd.Env = s.t.TempDir(), append(rig.Inherited("PATH", "TMPDIR"), s.settings...)
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// startNginx renders the templates as the image's entry point does, and puts nginx before the server.
func (s *stack) startNginx() {
	s.t.Helper()
	if !installed("nginx") {
		return
	}
	folder := s.t.TempDir()
	err := rig.RenderNginx(s.t.Context(), "../../nginx", folder,
		"PULSEVAULT_ADDR="+s.server, "LISTEN_HTTP="+s.front, "LISTEN_HTTPS="+s.tls, "LISTEN_INTERNAL="+s.inside, "RATE_UPLOAD=100", "RATE_API_BURST=5")
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := rig.Nginx(s.t.Context(), folder)
	nginx := s.start("nginx", nil, cmd.Path, cmd.Args[1:]...)
	nginx.awaitAnswer(s.t, "http://"+s.inside+"/nginx/health")
	s.api.Base = "http://" + s.front
}
