package monitoring_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// scraped is how often the Prometheus of the test looks, in place of every 15 seconds.
const scraped = time.Second

// startPrometheus starts Prometheus with the project's own files, of which only the addresses and the intervals are others.
func (s *stack) startPrometheus() {
	s.t.Helper()
	folder := s.t.TempDir()
	rules, err := filepath.Glob("../../prometheus/rules/*.yml")
	if err != nil || len(rules) == 0 {
		s.t.Fatal(rules, err)
	}
	for _, path := range rules {
		write(s.t, filepath.Join(folder, "rules", filepath.Base(path)), readText(s.t, path))
	}
	var config map[string]any
	readYAML(s.t, "../../prometheus/prometheus.yml", &config)
	config["global"] = map[string]any{"scrape_interval": scraped.String(), "scrape_timeout": scraped.String(), "evaluation_interval": scraped.String()}
	for _, job := range config["scrape_configs"].([]any) {
		s.readdress(job.(map[string]any))
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, folder+"/prometheus.yml", string(text))
	p := s.start("prometheus", nil, "prometheus", "--config.file="+folder+"/prometheus.yml", "--storage.tsdb.path="+s.t.TempDir(), "--web.listen-address="+s.prometheus)
	p.awaitAnswer(s.t, "http://"+s.prometheus+"/-/ready")
	for _, job := range config["scrape_configs"].([]any) {
		name := job.(map[string]any)["job_name"]
		await(s.t, fmt.Sprintf("%s is read for the second time", name), func() bool {
			shown, err := s.promQL(fmt.Sprintf(`count_over_time(up{job=%q}[10m]) >= 2`, name), true)
			return err == nil && shown.series > 0
		})
	}
}

// readdress has a job look at what runs here. What does not, nobody answers for.
func (s *stack) readdress(job map[string]any) {
	s.t.Helper()
	here := map[string]string{
		"pulsevault:3000": s.server, "nginx:8081": s.inside, "localhost:9090": s.prometheus, "loki:3100": s.loki,
		"alloy:12345": freeAddress(s.t), "grafana:3000": freeAddress(s.t),
	}
	if dns, ok := job["dns_sd_configs"].([]any); ok {
		names := dns[0].(map[string]any)["names"].([]any)
		if len(names) != 1 || names[0] != "transcode-worker" {
			s.t.Fatalf("nothing of the name %v runs here", names)
		}
		delete(job, "dns_sd_configs")
		job["static_configs"] = []any{map[string]any{"targets": []any{s.worker}}}
		return
	}
	targets := job["static_configs"].([]any)[0].(map[string]any)["targets"].([]any)
	for i, target := range targets {
		address := here[target.(string)]
		if address == "" {
			s.t.Fatalf("nothing of the address %v runs here", target)
		}
		targets[i] = address
	}
}

// shown is what a query gave: how many series, or streams of lines, and the largest value that is a number.
type shown struct {
	series int
	most   float64
	labels []map[string]string
	lines  int
}

func (s shown) found() bool { return s.series+s.lines > 0 }

func (s shown) happened() bool { return s.most > 0 || s.lines > 0 }

func (s shown) String() string {
	if s.lines > 0 {
		return fmt.Sprintf("%d lines", s.lines)
	}
	return fmt.Sprintf("%d series, up to %.4g", s.series, s.most)
}

// begun is where every range begins: well before the test.
var begun = time.Now().Add(-5 * time.Minute)

// promQL asks Prometheus as Grafana does: for this moment, or for the time that a panel shows. Series in which no number stands
// do not count: Grafana draws nothing of them.
func (s *stack) promQL(query string, instant bool) (shown, error) {
	values, path := url.Values{"query": {query}}, "/api/v1/query"
	if !instant {
		path = "/api/v1/query_range"
		values.Set("start", unix(begun))
		values.Set("end", unix(time.Now()))
		values.Set("step", strconv.FormatFloat(scraped.Seconds(), 'f', -1, 64))
	}
	return ask("http://"+s.prometheus+path, values)
}

func unix(at time.Time) string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64) }

// ask sends a query to Prometheus or Loki, whose answers have one form, and counts what is in the answer.
func ask(address string, values url.Values) (shown, error) {
	var answer struct {
		Data struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := get(address+"?"+values.Encode(), &answer); err != nil {
		return shown{}, err
	}
	if answer.Data.ResultType == "scalar" {
		return shown{series: 1}, nil
	}
	var series []struct {
		Metric, Stream map[string]string
		Value          []any
		Values         [][]any
	}
	if err := json.Unmarshal(answer.Data.Result, &series); err != nil {
		return shown{}, fmt.Errorf("%w: %s", err, answer.Data.Result)
	}
	var all shown
	for _, one := range series {
		if answer.Data.ResultType == "streams" {
			all.lines += len(one.Values)
			all.labels = append(all.labels, one.Stream)
			continue
		}
		seen := false
		for _, sample := range append(one.Values, one.Value) {
			if len(sample) < 2 {
				continue
			}
			number, err := strconv.ParseFloat(sample[1].(string), 64)
			if err != nil {
				return shown{}, err
			}
			if !math.IsNaN(number) {
				seen = true
				all.most = max(all.most, number)
			}
		}
		if seen {
			all.series++
			all.labels = append(all.labels, one.Metric)
		}
	}
	return all, nil
}

// get reads a JSON answer; one that is not 200 is an error that holds what was said.
func get(address string, into any) error {
	resp, err := http.Get(address)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, into)
}
