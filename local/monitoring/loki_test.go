package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// startLoki starts Loki with the project's own file, of which only the folders and the addresses are others.
func (s *stack) startLoki() {
	s.t.Helper()
	if !installed("loki") {
		return
	}
	host, port, _ := net.SplitHostPort(s.loki)
	_, grpc, _ := net.SplitHostPort(freeAddress(s.t))
	folder := s.t.TempDir()
	text := strings.NewReplacer(
		" /loki", " "+folder,
		"  http_listen_port: 3100\n", fmt.Sprintf("  http_listen_address: %s\n  http_listen_port: %s\n  grpc_listen_address: %s\n  grpc_listen_port: %s\n", host, port, host, grpc),
	).Replace(readText(s.t, "../../loki/loki.yaml"))
	write(s.t, folder+"/loki.yaml", text)
	p := s.start("loki", nil, "loki", "-config.file="+folder+"/loki.yaml")
	p.awaitAnswer(s.t, "http://"+s.loki+"/config")
}

// ship sends to Loki what Alloy would have sent: every line that a program has logged, and the audit log.
func (s *stack) ship() {
	s.t.Helper()
	c := readCollector(s.t, map[string]string{"COMPOSE_PROJECT_NAME": "pulsevault", "AUDIT_DIR": "/media/audit"})
	stages, _, err := c.way("containers")
	if err != nil {
		s.t.Fatal(err)
	}
	var sent []*entry
	for _, p := range s.programs {
		for _, l := range p.said() {
			sent = append(sent, through(s.t, stages, read(aContainersFile, dockerLine(p.tag, l.stream, l.text, l.at))))
		}
	}
	if stages, _, err = c.way("audit"); err != nil {
		s.t.Fatal(err)
	}
	logs, err := filepath.Glob(s.root + "/audit/*.log")
	if err != nil || len(logs) == 0 {
		s.t.Fatal(logs, err)
	}
	for _, path := range logs {
		for line := range strings.Lines(readText(s.t, path)) {
			sent = append(sent, through(s.t, stages, read("/media/audit/"+filepath.Base(path), strings.TrimSuffix(line, "\n"))))
		}
	}
	s.t.Logf("%d lines go to Loki", len(sent))
	await(s.t, "Loki takes the lines", func() bool { return s.push(sent) == nil })
}

func through(t *testing.T, stages []stage, e *entry) *entry {
	t.Helper()
	kept, err := pass(stages, e)
	if err != nil || !kept {
		t.Fatalf("kept %v, %v: %s", kept, err, e.line)
	}
	return e
}

func (s *stack) push(sent []*entry) error {
	type stream struct {
		Stream map[string]string `json:"stream"`
		Values [][]any           `json:"values"`
	}
	var body struct {
		Streams []stream `json:"streams"`
	}
	for _, e := range sent {
		body.Streams = append(body.Streams, stream{e.labels, [][]any{{strconv.FormatInt(e.at.UnixNano(), 10), e.line, e.metadata}}})
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	resp, err := http.Post("http://"+s.loki+"/loki/api/v1/push", "application/json", bytes.NewReader(data))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s: %s", resp.Status, said)
	}
	return nil
}

// logQL asks Loki for the time that a panel shows.
func (s *stack) logQL(query string) (shown, error) {
	return ask("http://"+s.loki+"/loki/api/v1/query_range", url.Values{
		"query": {query}, "start": {unix(begun)}, "end": {unix(time.Now())}, "step": {"5"}, "limit": {"1000"},
	})
}

// wantStreams fails unless the streams are few, and are known by nothing but the labels that are agreed.
func (s *stack) wantStreams(t *testing.T) {
	var answer struct{ Data []map[string]string }
	if err := get("http://"+s.loki+"/loki/api/v1/series?"+url.Values{"match[]": {`{service=~".+"}`}, "start": {unix(begun)}}.Encode(), &answer); err != nil {
		t.Fatal(err)
	}
	if n := len(answer.Data); n < 10 || n > 40 {
		t.Errorf("there are %d streams", n)
	}
	services := map[string]bool{}
	for _, labels := range answer.Data {
		services[labels["service"]] = true
		for name := range labels {
			if !slices.Contains([]string{"service", "level", "stream", "category"}, name) {
				t.Errorf("a stream is known by %q: %v", name, labels)
			}
		}
	}
	for _, name := range []string{"backend", "transcode-worker", "redis", "nginx", "prometheus", "loki", "audit"} {
		if !services[name] && (name != "nginx" || installed("nginx")) {
			t.Errorf("of %s there are no lines: %v", name, services)
		}
	}
}

// wantRetention fails unless Loki says that it keeps lines for 30 days, in the form that is agreed, and deletes what is older.
func (s *stack) wantRetention(t *testing.T) {
	resp, err := http.Get("http://" + s.loki + "/config")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Compactor struct {
			RetentionEnabled   bool   `yaml:"retention_enabled"`
			DeleteRequestStore string `yaml:"delete_request_store"`
			WorkingDirectory   string `yaml:"working_directory"`
		}
		Limits struct {
			RetentionPeriod string `yaml:"retention_period"`
		} `yaml:"limits_config"`
		Schema struct {
			Configs []struct {
				Store, Schema string
				ObjectStore   string `yaml:"object_store"`
			}
		} `yaml:"schema_config"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if c := config.Compactor; !c.RetentionEnabled || c.DeleteRequestStore != "filesystem" || !strings.HasSuffix(c.WorkingDirectory, "/compactor") {
		t.Errorf("the compactor deletes nothing: %+v", c)
	}
	if kept := config.Limits.RetentionPeriod; kept != "30d" {
		t.Errorf("lines are kept for %s", kept)
	}
	if c := config.Schema.Configs; len(c) != 1 || c[0].Store != "tsdb" || c[0].Schema != "v13" || c[0].ObjectStore != "filesystem" {
		t.Errorf("the schema is %+v", c)
	}
	await(t, "the compactor runs", func() bool {
		resp, err := http.Get("http://" + s.loki + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		return err == nil && bytes.Contains(text, []byte("\nloki_boltdb_shipper_compactor_running 1\n"))
	})
}
