package local_test

import (
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"pulsevault/pkg/freeport"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
)

// service is what docker-compose.yml says of one, as far as it matters here.
type service struct {
	Image, User, Restart string
	ContainerName        string   `yaml:"container_name"`
	ReadOnly             bool     `yaml:"read_only"`
	CapDrop              []string `yaml:"cap_drop"`
	SecurityOpt          []string `yaml:"security_opt"`
	MemLimit             string   `yaml:"mem_limit"`
	CPUs                 string   `yaml:"cpus"`
	Ports, Command       []string
	Networks             any
	Healthcheck          struct{ Test any }
	Deploy               struct{ Replicas string }
	DependsOn            map[string]struct{ Condition string } `yaml:"depends_on"`
	Environment          map[string]string
}

// composed are the services and the volumes of docker-compose.yml.
func composed(t *testing.T) (services map[string]service, volumes []string) {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]service
		Volumes  map[string]any
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	return file.Services, slices.Sorted(maps.Keys(file.Volumes))
}

// published is where each service is published by default, as address, port there and port inside. What has no address is for the
// world.
var published = map[string][]string{
	"pulsevault": {"127.0.0.1:3000:3000"}, "redis": {"127.0.0.1:6379:6379"}, "nginx": {"80:8080", "443:8443"}, "prometheus": {"127.0.0.1:9090:9090"},
	"grafana": {"127.0.0.1:3001:3000"}, "loki": {"127.0.0.1:3100:3100"}, "transcode-worker": nil, "alloy": nil,
}

var withDefault = regexp.MustCompile(`\$\{([A-Z_]+)(?::[-?]([^}]*))?\}`)

// byDefault puts into a value what it has where nothing is set.
func byDefault(value string) string {
	return withDefault.ReplaceAllStringFunc(value, func(found string) string {
		parts := withDefault.FindStringSubmatch(found)
		if parts[1] == "COMPOSE_PROJECT_NAME" {
			return "pulsevault"
		}
		return parts[2]
	})
}

// Every service of the stack has the same safeguards, limits, a pinned image and a check of its health; nginx alone is published to
// the world, and alloy alone is root.
func TestStackIsSecureByDefault(t *testing.T) {
	services, volumes := composed(t)
	if !maps.EqualFunc(services, published, func(service, []string) bool { return true }) {
		t.Errorf("the services are %q", slices.Sorted(maps.Keys(services)))
	}
	for name, s := range services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Restart != "unless-stopped" ||
			byDefault(s.MemLimit) == "" || byDefault(s.CPUs) == "" || s.Healthcheck.Test == nil {
			t.Errorf("%s: %+v", name, s)
		}
		var ports []string
		for _, p := range s.Ports {
			ports = append(ports, byDefault(p))
		}
		if !slices.Equal(ports, published[name]) {
			t.Errorf("%s is published at %q", name, ports)
		}
		ours := name == "pulsevault" || name == "transcode-worker" // whose Dockerfile says who they are
		if _, tag, _ := strings.Cut(byDefault(s.Image), ":"); tag == "" || tag == "latest" || !ours && !regexp.MustCompile(`\d+\.\d+\.\d+`).MatchString(tag) {
			t.Errorf("%s: the image %s is not pinned", name, s.Image)
		}
		if root := s.User == "" || strings.HasPrefix(s.User, "0") || s.User == "root"; root != (name == "alloy") && !ours {
			t.Errorf("%s runs as %q", name, s.User)
		}
		want := map[string]string{"pulsevault": "pulsevault-backend", "transcode-worker": ""}
		if container, ok := want[name]; ok && byDefault(s.ContainerName) != container || !ok && byDefault(s.ContainerName) != "pulsevault-"+name {
			t.Errorf("the container of %s is %q", name, s.ContainerName)
		}
		for other, on := range s.DependsOn {
			if on.Condition != "service_healthy" {
				t.Errorf("%s waits for %s to be %s", name, other, on.Condition)
			}
		}
	}
	if want := []string{"alloy-data", "grafana-data", "loki-data", "media-storage", "nginx-cache", "prometheus-data", "redis-data"}; !slices.Equal(volumes, want) {
		t.Errorf("the volumes are %q", volumes)
	}
	if n := byDefault(services["transcode-worker"].Deploy.Replicas); n != "2" {
		t.Errorf("there are %s workers", n)
	}
	if !slices.ContainsFunc(services["prometheus"].Command, func(c string) bool { return byDefault(c) == "--storage.tsdb.retention.time=30d" }) {
		t.Errorf("Prometheus is started by %q", services["prometheus"].Command)
	}
}

// unexplained are what docker-compose.yml takes and is no setting: Compose's own, and what only the one who builds has.
var unexplained = []string{"COMPOSE_PROJECT_NAME", "GOPROXY"}

// Whatever can be set of the stack is told of in .env.example, and what is told there to be the default is it.
func TestSettingsOfTheStackAreExplained(t *testing.T) {
	compose, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../.env.example")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, line := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(example), -1) {
		told[line[1]] = line[2]
	}
	for _, taken := range withDefault.FindAllStringSubmatch(string(compose), -1) {
		value, ok := told[taken[1]]
		if !ok && !slices.Contains(unexplained, taken[1]) {
			t.Errorf("%s can be set, and .env.example does not tell of it", taken[1])
		}
		if ok && value != "" && value != taken[2] {
			t.Errorf("%s is %q by .env.example, and %q by docker-compose.yml", taken[1], value, taken[2])
		}
	}
	for _, setting := range strings.Fields("RATE_UPLOAD=10 RATE_UPLOAD_BURST=5 RATE_API=100 RATE_API_BURST=50 RATE_MEDIA=50 RATE_MEDIA_BURST=20 RATE_CONNECTIONS=10 " +
		"MEDIA_CACHE_SIZE=10g MEDIA_CACHE_TIME=30d PROMETHEUS_RETENTION=30d WORKERS=2 AUTH_MODE=apikey REDIS_HOST=redis VIDEO_DIR=/media/videos") {
		if name, value, _ := strings.Cut(setting, "="); told[name] != value {
			t.Errorf("%s is %q", name, told[name])
		}
	}
}

// startRedisOfTheStack runs the command of the stack's Redis, by this file of passwords. users are whom it was told of.
func startRedisOfTheStack(t *testing.T, passwords string) (address, users string) {
	t.Helper()
	for _, tool := range []string{"sh", "redis-server", "sha256sum"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: no %s is installed, so the command of the stack's Redis was not run", tool)
		}
	}
	services, _ := composed(t)
	command, dir := services["redis"].Command, t.TempDir()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(passwords), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	script := strings.NewReplacer("$$", "$", "/run/pulsevault/redis/password", file, "/tmp/users", filepath.Join(dir, "users"),
		"redis-server - ", fmt.Sprintf("redis-server - --bind 127.0.0.1 --port %s --dir %s ", port, dir)).Replace(byDefault(command[len(command)-1]))
	redis := exec.Command(command[0], append(slices.Clone(command[1:len(command)-1]), script)...)
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = redis.Process.Kill(), redis.Wait() })
	for range 100 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	told, err := os.ReadFile(filepath.Join(dir, "users"))
	if err != nil {
		t.Fatal(err)
	}
	return address, string(told)
}

// The Redis of the stack accepts each password of its file, and nobody without one, whatever empty lines the file has; and it keeps
// an append-only file.
func TestRedisOfTheStackTakesThePasswordsOfItsFile(t *testing.T) {
	address, users := startRedisOfTheStack(t, "\nthe-one-of-now\n\n  the-one-of-before \n\n")
	ping := func(password string) error {
		return redistest.Client(t, redisdb.Options{Addr: address, Password: password}).Ping(t.Context()).Err()
	}
	for _, password := range []string{"the-one-of-now", "the-one-of-before"} {
		if err := ping(password); err != nil {
			t.Errorf("%s: %v", password, err)
		}
	}
	admin := redistest.Client(t, redisdb.Options{Addr: address, Password: "the-one-of-now"})
	for _, wrong := range []string{"", " ", "another"} {
		if wrong == "" && ping("") == nil || admin.Do(t.Context(), "AUTH", "default", wrong).Err() == nil {
			t.Errorf("%q opens it", wrong)
		}
	}
	if info, err := admin.Info(t.Context(), "persistence").Result(); err != nil || !strings.Contains(info, "aof_enabled:1") {
		t.Errorf("%v\n%s", err, info)
	}
	if strings.Contains(users, "the-one") || strings.Count(users, " #") != 2 {
		t.Errorf("it was told of %s", users)
	}
}
