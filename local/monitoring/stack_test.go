package monitoring_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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
	folder, cmd := s.t.TempDir(), exec.CommandContext(s.t.Context(), "sh", "-c", ". ./10-settings.envsh && env -0")
	cmd.Dir = "../../nginx/entrypoint"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PULSEVAULT_ADDR=" + s.server, "LISTEN_HTTP=" + s.front, "LISTEN_HTTPS=" + s.tls, "LISTEN_INTERNAL=" + s.inside,
		"TLS_CERTIFICATE=" + folder + "/fullchain.pem", "TLS_CERTIFICATE_KEY=" + folder + "/privkey.pem", "NGINX_CACHE_DIR=" + folder, "NGINX_TEMP_DIR=" + folder, "RATE_UPLOAD=100", "RATE_API_BURST=5"}
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatal(err)
	}
	selfSigned(s.t, folder)
	env := map[string]string{}
	for _, line := range strings.Split(string(out), "\x00") {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
	}
	templates, err := filepath.Glob("../../nginx/templates/*.template")
	if err != nil || len(templates) == 0 {
		s.t.Fatal(templates, err)
	}
	for _, path := range templates {
		text := regexp.MustCompile(`\$\{[A-Z_]+\}`).ReplaceAllStringFunc(readText(s.t, path), func(found string) string { return env[strings.Trim(found, "${}")] })
		write(s.t, filepath.Join(folder, "conf.d", strings.TrimSuffix(filepath.Base(path), ".template")), text)
	}
	main := strings.NewReplacer("/etc/nginx/conf.d/", folder+"/conf.d/", "/tmp/nginx.pid", folder+"/nginx.pid").Replace(readText(s.t, "../../nginx/nginx.conf"))
	if os.Geteuid() == 0 {
		main = "user root;\n" + main // or the workers could not enter the test's folders
	}
	write(s.t, folder+"/nginx.conf", main)
	nginx := s.start("nginx", nil, "nginx", "-e", "stderr", "-p", folder, "-c", folder+"/nginx.conf", "-g", "daemon off;")
	nginx.awaitAnswer(s.t, "http://"+s.inside+"/nginx/health")
	s.api.Base = "http://" + s.front
}

func selfSigned(t *testing.T, folder string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(90 * 24 * time.Hour)}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, folder+"/fullchain.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public})))
	write(t, folder+"/privkey.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}
