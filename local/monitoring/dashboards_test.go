package monitoring_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// dashboard is what a file of Grafana's says, as far as it matters here.
type dashboard struct {
	Title      string
	Panels     []panel
	Templating struct{ List []variable }
}

type panel struct {
	Title, Type string
	Datasource  struct{ Type, UID string }
	Targets     []struct {
		RefID, Expr string
		Instant     bool
	}
	Panels []panel // of a row that is folded
}

type variable struct {
	Name, Type, AllValue string
	Query                any
	Current              struct{ Value string }
}

// choice is what somebody has chosen for each variable of a dashboard.
type choice map[string]string

// readDashboards are all dashboards.
func readDashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	paths, err := filepath.Glob("../../grafana/dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		var d dashboard
		if err := json.Unmarshal([]byte(readText(t, path)), &d); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, d)
	}
	return all
}

// needs are the programs without which a query has nothing to show, where they are not installed.
var needs = map[string]*regexp.Regexp{
	"nginx": regexp.MustCompile(`nginx_|service="nginx"|pulsevault_certificate_`),
	"loki":  regexp.MustCompile(`\bloki_|service=`),
}

// quiet are the queries that can show nothing but zeros here, and why.
var quiet = map[string]string{
	"increase(redis_evicted_keys_total[$__rate_interval])": "Redis runs with noeviction, and throws nothing away",
}

// only are panels that must not show more than they say: a label of all that is shown, and what it may be.
var only = map[string]struct {
	label string
	is    *regexp.Regexp
}{
	"Refused":              {"status", regexp.MustCompile(`^40[134]$`)},
	"Refused by nginx":     {"status", regexp.MustCompile(`^429$`)},
	"Who was refused what": {"action", regexp.MustCompile(`^([a-z]+\.denied|auth\.denials)$`)},
	"Emergency access":     {"action", regexp.MustCompile(`^emergency\.`)},
}

// Everything that a dashboard shows is there to be shown: each query of each panel finds something in what a real Prometheus has
// read, and in what Loki was sent, while all happened that there are panels for.
func TestEveryPanelShowsSomething(t *testing.T) {
	t.Parallel()
	dashboards := readDashboards(t)
	s := startStack(t)
	did := s.work()
	s.wantAlerts("AuditChainBroken", "AuditNotWritten", "DeadLetter", "EmergencyAccess", "UploadsWithoutRoom")
	t.Run("rules", s.wantRules)
	if installed("loki") {
		s.ship()
		t.Run("streams", s.wantStreams)
		t.Run("retention", s.wantRetention)
	} else {
		t.Log("NOT TESTED: no loki is installed, so nobody has asked for what the panels of logs show")
	}
	for _, d := range dashboards {
		t.Run(d.Title, func(t *testing.T) {
			choices := s.choices(t, d, did)
			for _, p := range d.Panels {
				if p.Type == "row" {
					continue
				}
				t.Run(p.Title, func(t *testing.T) { s.wantShown(t, p, choices) })
			}
		})
	}
}

// choices are what may be chosen on a dashboard: what is chosen at first, and then each value of a variable.
func (s *stack) choices(t *testing.T, d dashboard, did did) []choice {
	t.Helper()
	first := choice{}
	for _, v := range d.Templating.List {
		first[v.Name] = v.Current.Value
		if v.Current.Value == "$__all" {
			first[v.Name] = v.AllValue
		}
	}
	all := []choice{first}
	for _, v := range d.Templating.List {
		values := s.values(t, v, did)
		if len(values) == 0 {
			t.Errorf("there is nothing to choose for %s", v.Name)
		}
		for _, value := range values {
			one := choice{}
			for name := range first {
				one[name] = first[name]
			}
			one[v.Name] = value
			all = append(all, one)
		}
	}
	return all
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// values are those that Grafana would offer, or that somebody may write.
func (s *stack) values(t *testing.T, v variable, did did) (values []string) {
	t.Helper()
	switch v.Type {
	case "custom":
		return strings.Split(v.Query.(string), ",")
	case "textbox":
		return map[string][]string{"video": {did.video}, "user": {did.user}}[v.Name]
	case "query":
		asked := labelValues.FindStringSubmatch(v.Query.(map[string]any)["query"].(string))
		if asked == nil {
			t.Fatalf("%s cannot be asked here: %v", v.Name, v.Query)
		}
		shown, err := s.promQL(asked[1], false)
		if err != nil {
			t.Fatal(err)
		}
		for _, labels := range shown.labels {
			values = append(values, labels[asked[2]])
		}
		return slices.Compact(slices.Sorted(slices.Values(values)))
	}
	t.Fatalf("%s is of the type %s", v.Name, v.Type)
	return nil
}

// wantShown fails unless each query of a panel shows something, whatever is chosen that it speaks of.
func (s *stack) wantShown(t *testing.T, p panel, choices []choice) {
	if len(p.Targets) == 0 {
		t.Fatal("it asks for nothing")
	}
	for _, target := range p.Targets {
		for name, expr := range needs {
			if expr.MatchString(target.Expr) && !installed(name) {
				t.Skipf("NOT TESTED: no %s is installed, so there is nothing to show", name)
			}
		}
		asked := map[string]bool{}
		for _, c := range choices {
			query := c.into(target.Expr)
			if asked[query] {
				continue
			}
			asked[query] = true
			found := s.wantAnswer(t, p.Datasource.Type, query, target.Instant, quiet[target.Expr])
			for _, labels := range found.labels {
				if only, ok := only[p.Title]; ok && !only.is.MatchString(labels[only.label]) {
					t.Errorf("%s\nshows %v too", query, labels)
				}
			}
		}
	}
}

// wantAnswer fails unless a query has an answer in which something has happened; where it is to be quiet, that it is not.
func (s *stack) wantAnswer(t *testing.T, from, query string, instant bool, quiet string) (now shown) {
	t.Helper()
	var ever shown
	for range 25 {
		var err error
		if now, err = s.query(t, from, query, instant); err == nil {
			ever, err = s.query(t, from, query, false) // what is 0 by now may have been more
		}
		if err != nil {
			t.Fatalf("%s\n%v", query, err)
		}
		if now.found() && (ever.happened() || quiet != "") {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("%s\n%v; at any time %v", query, now, ever)
	switch {
	case !now.found():
		t.Errorf("%s\nshows nothing", query)
	case !ever.happened() && quiet == "":
		t.Errorf("%s\nshows zeros only", query)
	case ever.happened() && quiet != "":
		t.Errorf("%s\nshows something, although it is said that %s", query, quiet)
	}
	return now
}

func (s *stack) query(t *testing.T, from, query string, instant bool) (shown, error) {
	t.Helper()
	switch from {
	case "prometheus":
		return s.promQL(query, instant)
	case "loki":
		return s.logQL(query)
	}
	t.Fatalf("nobody here is asked by %q", from)
	return shown{}, nil
}

// into puts what is chosen into a query, as Grafana does. A rate is taken over more than one point is wide, as in a panel that
// shows a few minutes.
func (c choice) into(query string) string {
	all := []string{"$__rate_interval", (10 * scraped).String(), "$__auto", "5s"}
	for name, value := range c {
		all = append(all, "$"+name, value)
	}
	return strings.NewReplacer(all...).Replace(query)
}

// What is asked of is what Grafana is given, and nothing is left in a query that Grafana would fill in and this test does not.
func TestDashboardsAskWhatIsThere(t *testing.T) {
	var given struct{ Datasources []struct{ UID, Type string } }
	readYAML(t, "../../grafana/provisioning/datasources/pulsevault.yml", &given)
	for _, d := range readDashboards(t) {
		names := choice{}
		for _, v := range d.Templating.List {
			names[v.Name] = "x"
		}
		for _, p := range d.Panels {
			if len(p.Panels) > 0 {
				t.Errorf("%s: the row %s is folded, and its panels are not tried", d.Title, p.Title)
			}
			for _, target := range p.Targets {
				if left := names.into(target.Expr); strings.Contains(left, "$") {
					t.Errorf("%s, %s: nobody fills in %s", d.Title, p.Title, left)
				}
				if !slices.ContainsFunc(given.Datasources, func(g struct{ UID, Type string }) bool {
					return g.UID == p.Datasource.UID && g.Type == p.Datasource.Type
				}) {
					t.Errorf("%s, %s: there is no %+v", d.Title, p.Title, p.Datasource)
				}
			}
		}
	}
}
