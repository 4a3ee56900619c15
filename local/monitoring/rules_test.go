package monitoring_test

import (
	"path/filepath"
	"regexp"
	"testing"
)

// wantAlerts waits until Prometheus has these alerts fire.
func (s *stack) wantAlerts(names ...string) {
	s.t.Helper()
	for _, name := range names {
		await(s.t, name+" fires", func() bool {
			shown, err := s.promQL(`ALERTS{alertname="`+name+`",alertstate="firing"}`, true)
			return err == nil && shown.found()
		})
	}
}

// elsewhere are the series that rules speak of and nothing tells here, and why.
var elsewhere = map[string]string{
	"loki_write_dropped_entries_total": "Alloy tells it, which does not run here",
}

var aSeries = regexp.MustCompile(`\b(?:[a-z]+:)?(?:pulsevault|redis|nginx|loki)_[a-z0-9_]+(?::[a-z0-9_]+)?|\bpulsevault:[a-z0-9_:]+`)

// wantRules fails unless Prometheus computes all rules, and each series that one records or speaks of is there.
func (s *stack) wantRules(t *testing.T) {
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Query, Type, Health, LastError string }
			}
		}
	}
	if err := get("http://"+s.prometheus+"/api/v1/rules", &answer); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../prometheus/rules/*.yml")
	if err != nil || len(answer.Data.Groups) < len(files) {
		t.Fatalf("%d groups of %q, %v", len(answer.Data.Groups), files, err)
	}
	for _, group := range answer.Data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				t.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.LastError)
			}
			names := aSeries.FindAllString(rule.Query, -1)
			if rule.Type == "recording" {
				names = append(names, rule.Name)
			}
			for _, name := range names {
				s.wantSeries(t, rule.Name, name)
			}
		}
	}
}

func (s *stack) wantSeries(t *testing.T, rule, name string) {
	for program, expr := range needs {
		if expr.MatchString(name) && !installed(program) {
			return
		}
	}
	shown, err := s.promQL(name, false)
	switch {
	case err != nil:
		t.Errorf("%s: %s: %v", rule, name, err)
	case !shown.found() && elsewhere[name] == "":
		t.Errorf("%s speaks of %s, and there is none", rule, name)
	case shown.found() && elsewhere[name] != "":
		t.Errorf("%s is here, although %s", name, elsewhere[name])
	}
}
