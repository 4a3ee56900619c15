package main_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ruleFile is what a file of rules says, as far as it matters here.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Record, Alert, Expr string
			Labels, Annotations map[string]string
		}
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// ruleFiles are all files of rules.
func ruleFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../../prometheus/rules/*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	return paths
}

// Prometheus itself reads the files, and each alert fires where it must and only there.
func TestPrometheusRules(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("NOT TESTED: no promtool is installed, so nobody has read Prometheus's configuration, nor tried the alerts")
	}
	tests, err := filepath.Glob("../../prometheus/tests/*.yml")
	if err != nil || len(tests) == 0 {
		t.Fatal(tests, err)
	}
	for _, args := range [][]string{
		{"check", "config", "../../prometheus/prometheus.yml"},
		append([]string{"check", "rules", "--lint-fatal"}, ruleFiles(t)...),
		append([]string{"test", "rules"}, tests...),
	} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Each alert says what is wrong and how bad that is, leads to a section that is there, and is tried both ways.
func TestAlertsLeadToTheirRunbook(t *testing.T) {
	fires, rests := map[string]bool{}, map[string]bool{}
	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "../../prometheus/tests/alerts.yml", &tests)
	for _, test := range tests.Tests {
		for _, tried := range test.AlertRuleTest {
			fires[tried.Alertname] = fires[tried.Alertname] || len(tried.ExpAlerts) > 0
			rests[tried.Alertname] = rests[tried.Alertname] || len(tried.ExpAlerts) == 0
		}
	}
	alerts := map[string]bool{}
	for _, path := range ruleFiles(t) {
		var file ruleFile
		readYAML(t, path, &file)
		for _, group := range file.Groups {
			for _, rule := range group.Rules {
				if rule.Alert == "" {
					continue
				}
				alerts[rule.Alert] = true
				if severity := rule.Labels["severity"]; severity != "critical" && severity != "warning" && severity != "info" {
					t.Errorf("%s has the severity %q", rule.Alert, severity)
				}
				if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
					t.Errorf("%s does not say what is wrong: %v", rule.Alert, rule.Annotations)
				}
				wantHeading(t, rule.Alert, rule.Annotations["runbook_url"])
				if !fires[rule.Alert] || !rests[rule.Alert] {
					t.Errorf("%s: it is tried where it fires: %v, where it must not: %v", rule.Alert, fires[rule.Alert], rests[rule.Alert])
				}
			}
		}
	}
	for _, heading := range regexp.MustCompile(`(?m)^### Alert (\w+)$`).FindAllStringSubmatch(readText(t, "../../docs/operations.md"), -1) {
		if !alerts[heading[1]] {
			t.Errorf("docs/operations.md tells of %s, and there is no such alert", heading[1])
		}
	}
}

// wantHeading fails unless an address leads to the heading of an alert.
func wantHeading(t *testing.T, alert, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Path == "" || u.Fragment != "alert-"+strings.ToLower(alert) {
		t.Errorf("%s leads to %q, %v", alert, address, err)
		return
	}
	if !strings.Contains(readText(t, filepath.Join("../..", u.Path)), "\n### Alert "+alert+"\n") {
		t.Errorf("%s has no section %q in %s", alert, "### Alert "+alert, u.Path)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
