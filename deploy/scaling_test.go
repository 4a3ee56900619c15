package deploy_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"

	"pulsevault/pkg/queue"
)

// KEDA scales what is there, by a rule that Prometheus has, of a metric that PulseVault has.
func TestScalingFollowsTheQueue(t *testing.T) {
	onEachOverlay(t, func(t *testing.T, m manifests) {
		s := one[*keda.ScaledObject](t, m, "transcode-worker")
		one[*apps.Deployment](t, m, s.Spec.ScaleTargetRef.Name)
		if len(s.Spec.Triggers) != 1 || s.Spec.Triggers[0].Type != "prometheus" {
			t.Fatalf("it is scaled by %+v", s.Spec.Triggers)
		}
		trigger := s.Spec.Triggers[0].Metadata
		service := one[*core.Service](t, m, "prometheus")
		if want := fmt.Sprintf("http://%s.%s.svc:%d", service.Name, service.Namespace, service.Spec.Ports[0].Port); trigger["serverAddress"] != want {
			t.Errorf("Prometheus is at %s and asked at %s", want, trigger["serverAddress"])
		}
		rule := ruleOf(t, trigger["query"])
		if !strings.Contains(rule, "pulsevault_queue_tasks") || !described(t, "pulsevault_queue_tasks") {
			t.Errorf("%s is made of %s, which nobody tells", trigger["query"], rule)
		}
	})
}

// ruleOf is the expression of the one recording rule that a query asks for.
func ruleOf(t *testing.T, query string) string {
	t.Helper()
	text, err := os.ReadFile("../prometheus/rules/recording.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`[a-z_0-9]+(:[a-z_0-9]+)+`).FindString(query)
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Record == name {
				return rule.Expr
			}
		}
	}
	t.Fatalf("%s: there is no rule %q", query, name)
	return ""
}

// described reports whether PulseVault tells a metric of its queues by that name, by queue and state.
func described(t *testing.T, metric string) bool {
	t.Helper()
	ch := make(chan *prometheus.Desc, 16)
	queue.NewCollector(nil, slog.New(slog.DiscardHandler)).Describe(ch)
	close(ch)
	for desc := range ch {
		if text := desc.String(); strings.Contains(text, `fqName: "`+metric+`"`) && strings.Contains(text, "queue") && strings.Contains(text, "state") {
			return true
		}
	}
	return false
}

// Prometheus itself reads its file, and makes of what two servers tell the number of tasks that want a worker.
func TestPrometheusCountsTasks(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("NOT TESTED: no promtool is installed, so nobody has read the cluster's prometheus.yml, nor tried the query that scales")
	}
	m := read(t, "volume")
	dir := t.TempDir()
	for _, source := range m.pods()["prometheus"].Spec.Volumes[0].Projected.Sources {
		config := one[*core.ConfigMap](t, m, source.ConfigMap.Name)
		paths := map[string]string{}
		for _, item := range source.ConfigMap.Items {
			paths[item.Key] = item.Path
		}
		for key, text := range config.Data {
			if paths[key] == "" {
				paths[key] = key
			}
			write(t, filepath.Join(dir, paths[key]), text)
		}
	}
	query := one[*keda.ScaledObject](t, m, "transcode-worker").Spec.Triggers[0].Metadata["query"]
	write(t, filepath.Join(dir, "query.yml"), strings.ReplaceAll(tried, "QUERY", query))
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"test", "rules", "query.yml"}} {
		command := exec.CommandContext(t.Context(), "promtool", args...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Two servers tell of the same seven tasks, of which the dead one wants nobody.
const tried = `
rule_files: [rules/recording.yml]
tests:
  - interval: 15s
    input_series:
      - { series: 'pulsevault_queue_tasks{instance="a",queue="transcode",state="pending"}', values: "2x9" }
      - { series: 'pulsevault_queue_tasks{instance="b",queue="transcode",state="pending"}', values: "2x9" }
      - { series: 'pulsevault_queue_tasks{instance="a",queue="pieces",state="active"}', values: "3x9" }
      - { series: 'pulsevault_queue_tasks{instance="b",queue="pieces",state="active"}', values: "3x9" }
      - { series: 'pulsevault_queue_tasks{instance="a",queue="transcode",state="retry"}', values: "1x9" }
      - { series: 'pulsevault_queue_tasks{instance="a",queue="transcode",state="archived"}', values: "1x9" }
    promql_expr_test:
      - expr: 'QUERY'
        eval_time: 2m
        exp_samples: [{ labels: "{}", value: 6 }]
`
