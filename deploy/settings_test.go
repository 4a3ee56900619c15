package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	core "k8s.io/api/core/v1"

	"pulsevault/pkg/app"
)

// ofAWS are settings that the library for buckets reads, and not PulseVault.
var ofAWS = []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

// What the pods are set is what the programs take: each name is one that they ask for, and each value is allowed.
func TestSettingsAreTaken(t *testing.T) {
	secrets := documented(t)
	onEachOverlay(t, func(t *testing.T, m manifests) {
		for _, name := range []string{"pulsevault", "transcode-worker"} {
			given := environment(t, m, name, secrets)
			asked := map[string]bool{}
			c, err := app.ConfigFromEnv(func(name string) string {
				asked[name] = true
				return given[name]
			})
			if err != nil {
				t.Errorf("%s would not start: %v", name, err)
			}
			for setting := range given {
				if !asked[setting] && !slices.Contains(ofAWS, setting) {
					t.Errorf("%s: nobody reads %s", name, setting)
				}
			}
			if !c.Production || c.AuthMode == app.AuthNone || c.RedisAddr != "redis:6379" || c.Host != "0.0.0.0" && c.MetricsAddr != "0.0.0.0:9090" {
				t.Errorf("%s runs as %+v", name, c)
			}
			if works := name == "transcode-worker"; works != (c.WorkerConcurrency > 0) {
				t.Errorf("%s works on %d tasks", name, c.WorkerConcurrency)
			}
		}
	})
}

// environment is what a pod finds in it; secrets are made up, in the form that they must have.
func environment(t *testing.T, m manifests, name string, secrets []string) map[string]string {
	t.Helper()
	given := map[string]string{}
	c := container(t, m.pods()[name])
	for _, from := range c.EnvFrom {
		for key, value := range one[*core.ConfigMap](t, m, from.ConfigMapRef.Name).Data {
			given[key] = value
		}
	}
	for _, e := range c.Env {
		given[e.Name] = e.Value
		if e.ValueFrom == nil {
			continue
		}
		key := e.ValueFrom.SecretKeyRef
		if key == nil || key.Name != "pulsevault" || key.Key != e.Name || !slices.Contains(secrets, key.Key) {
			t.Errorf("%s: %s comes from %+v, of which docs/operations.md says nothing", name, e.Name, e.ValueFrom)
		}
		if key != nil && (key.Optional == nil || !*key.Optional) {
			given[e.Name] = strings.Repeat("secret", 8)
		}
	}
	return given
}

// documented are the keys of the Secret that docs/operations.md has people make.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "kubectl create namespace pulsevault")
	section, _, _ = strings.Cut(section, "\n## ")
	keys := regexp.MustCompile(`[A-Z]+_[A-Z]+(_[A-Z]+)*`).FindAllString(section, -1)
	if !found || len(keys) == 0 {
		t.Fatal("docs/operations.md does not say how the Secret is made")
	}
	return keys
}

// The Secret's command in the documentation has the keys without which nothing starts, and Redis its password.
func TestSecretsAreDocumented(t *testing.T) {
	secrets := documented(t)
	onEachOverlay(t, func(t *testing.T, m manifests) {
		for _, name := range []string{"HMAC_SECRET", "REDIS_PASSWORD"} {
			if !slices.Contains(secrets, name) {
				t.Errorf("docs/operations.md does not say how %s is made", name)
			}
		}
		environment(t, m, "redis", secrets)
	})
}

// composeImages are the images of docker-compose.yml by service.
func composeImages(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct{ Image string }
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	images := map[string]string{}
	for name, s := range compose.Services {
		images[name] = s.Image
	}
	return images
}
