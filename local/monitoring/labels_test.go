package monitoring_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// dockerLine is a line as Docker's driver json-file writes it.
func dockerLine(tag, stream, line string, at time.Time) string {
	data, err := json.Marshal(map[string]any{"log": line + "\n", "stream": stream, "attrs": map[string]string{"tag": tag}, "time": at.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		panic(err)
	}
	return string(data)
}

const aContainersFile = "/var/lib/docker/containers/0f1e2d3c/0f1e2d3c-json.log"

// Labels are the few that make streams, with the few values they may have, whatever a line says; what there are many of is beside.
func TestAlloyLabels(t *testing.T) {
	const id = "0193a5c0-7d2e-7000-8000-000000000001"
	for _, test := range []struct{ project, tag, stream, line, labels, metadata string }{
		{"", "pulsevault-backend", "stderr", `{"time":"2026-01-02T03:04:05Z","level":"WARN","msg":"request","requestId":"abc","videoId":"` + id + `"}`,
			"level=warn service=backend stream=stderr", "container=pulsevault-backend request_id=abc video_id=" + id},
		{"", "pulsevault-transcode-worker-12", "stderr", `{"level":"ERROR","msg":"m","uploadId":"` + id + `"}`,
			"level=error service=transcode-worker stream=stderr", "container=pulsevault-transcode-worker-12 upload_id=" + id},
		{"", "pulsevault-backend", "stdout", "PulseVault dev is serving on http://localhost:3000", "service=backend stream=stdout", "container=pulsevault-backend"},
		{"", "pulsevault-backend", "stdout", `{"level":"` + id + `","service":"x","stream":"y","category":"z"}`, "service=backend stream=stdout", "container=pulsevault-backend"},
		{"", "pulsevault-nginx", "stdout", `{"time":"t","requestId":"abc","path":"/videos","status":429,"cache":""}`,
			"level=warn service=nginx stream=stdout", "container=pulsevault-nginx request_id=abc"},
		{"", "pulsevault-nginx", "stdout", `{"status":503}`, "level=error service=nginx stream=stdout", "container=pulsevault-nginx"},
		{"", "pulsevault-nginx", "stdout", `{"status":206}`, "level=info service=nginx stream=stdout", "container=pulsevault-nginx"},
		{"", "pulsevault-nginx", "stderr", `2026/01/02 03:04:05 [crit] 1#1: open() failed`, "service=nginx stream=stderr", "container=pulsevault-nginx"},
		{"", "pulsevault-redis", "stdout", "1:M 26 Nov 2026 09:00:00.000 # WARNING Memory overcommit must be enabled!", "level=warn service=redis stream=stdout", "container=pulsevault-redis"},
		{"", "pulsevault-redis", "stdout", "1:M 26 Nov 2026 09:00:00.000 * Ready to accept connections", "service=redis stream=stdout", "container=pulsevault-redis"},
		{"", "pulsevault-loki", "stderr", "level=WARNING ts=t msg=m", "level=warn service=loki stream=stderr", "container=pulsevault-loki"},
		{"", "pulsevault-grafana", "stdout", "logger=x level=info msg=m", "level=info service=grafana stream=stdout", "container=pulsevault-grafana"},
		{"", "pulsevault-prometheus", "stderr", "time=t level=ERROR msg=m", "level=error service=prometheus stream=stderr", "container=pulsevault-prometheus"},
		{"", "pulsevault-alloy", "stderr", "ts=t level=dreadful msg=m", "service=alloy stream=stderr", "container=pulsevault-alloy"},
		{"clinic", "clinic-backend", "stderr", "x", "service=backend stream=stderr", "container=clinic-backend"},
		{"clinic", "pulsevault-backend", "stderr", "x", "dropped", ""},
		{"", "somebody-elses", "stderr", "x", "dropped", ""},
		{"", "pulsevault-backend-of-somebody", "stderr", "x", "dropped", ""},
	} {
		stages, _, err := readCollector(t, map[string]string{"COMPOSE_PROJECT_NAME": test.project}).way("containers")
		if err != nil {
			t.Fatal(err)
		}
		e := read(aContainersFile, dockerLine(test.tag, test.stream, test.line, time.Now()))
		wantPassed(t, stages, e, test.labels, test.metadata)
		if test.labels != "dropped" && e.line != test.line {
			t.Errorf("%q became %q", test.line, e.line)
		}
	}
	stages, _, err := readCollector(t, nil).way("audit")
	if err != nil {
		t.Fatal(err)
	}
	audited := func(at time.Time) string {
		return fmt.Sprintf(`{"v":1,"seq":7,"eventId":"e","timestamp":%q,"category":"access","event":{"action":"media.accessed","requestId":"abc","videoId":%q,"userId":"bob"},"hash":"00"}`, at.Format(time.RFC3339Nano), id)
	}
	wantPassed(t, stages, read("/media/audit/access-2026-01-02.log", audited(time.Now())), "category=access service=audit", "action=media.accessed event_id=e request_id=abc user_id=bob video_id="+id)
	wantPassed(t, stages, read("/media/audit/access-2026-01-02.log", audited(time.Now().Add(-170*time.Hour))), "dropped", "")
}

// wantPassed takes a line through stages, and wants it with these labels and metadata.
func wantPassed(t *testing.T, stages []stage, e *entry, labels, metadata string) {
	t.Helper()
	line := e.line
	kept, err := pass(stages, e)
	switch got := pairs(e.labels); {
	case err != nil:
		t.Errorf("%s: %v", line, err)
	case labels == "dropped":
		if kept {
			t.Errorf("%s is kept, with %s", line, got)
		}
	case !kept || got != labels || pairs(e.metadata) != metadata:
		t.Errorf("%s: kept %v\n with %s | %s\n want %s | %s", line, kept, got, pairs(e.metadata), labels, metadata)
	}
}

func pairs(of map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, name+"="+of[name])
	}
	return strings.Join(all, " ")
}
