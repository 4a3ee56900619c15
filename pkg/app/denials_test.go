package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/app"
	"pulsevault/pkg/auth"
)

// entries are those of a category's log, by their events.
func entries(t *testing.T, c app.Config, category string) (events []map[string]any) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.AuditDir, category+"-*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var entry struct{ Event map[string]any }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatal(err)
			}
			events = append(events, entry.Event)
		}
	}
	return events
}

// Refusals are on record with their reason, and whoever asks again and again, from anywhere, does not fill the disk.
func TestRefusalsAreRecordedAndCounted(t *testing.T) {
	a, c := newApp(t, map[string]string{"AUDIT_IP": "full"})
	h := a.Guard(crew, auth.Upload, http.NotFoundHandler())
	from := func(address, credential string) {
		r := httptest.NewRequest("POST", "/uploads", nil)
		r.RemoteAddr = address + ":1"
		r.Header.Set("Authorization", "Bearer "+credential)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	for range 5 {
		from("192.0.2.1", "V")
		from("192.0.2.1", "guess")
	}
	first := entries(t, c, "auth")
	if len(first) != 2 || first[0]["action"] != "request.denied" || first[0]["userId"] != "vic" || first[0]["ip"] != "192.0.2.1" ||
		fmt.Sprint(first[0]["details"]) != "map[for:upload reason:role]" || fmt.Sprint(first[1]["details"]) != "map[for:upload reason:unknown_key]" {
		t.Errorf("%v", first)
	}
	for i := range 200 {
		from(fmt.Sprintf("198.51.100.%d", i), "guess")
	}
	if n := len(entries(t, c, "auth")); n != 100 {
		t.Errorf("%d entries within a minute", n)
	}
	a.FlushDenials()
	more := map[string]float64{}
	for _, e := range entries(t, c, "auth")[100:] {
		details := e["details"].(map[string]any)
		more[fmt.Sprint(e["action"], e["ip"], details["reason"])] = details["more"].(float64)
	}
	want := map[string]float64{"auth.denials192.0.2.1role": 4, "auth.denials192.0.2.1unknown_key": 4, "auth.denials<nil>others": 102}
	if fmt.Sprint(more) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", more, want)
	}
	if text, _ := os.ReadFile(c.AuditDir); strings.Contains(string(text), "guess") {
		t.Error("a credential is in the log")
	}
	from("192.0.2.1", "V")
	if all := entries(t, c, "auth"); all[len(all)-1]["action"] != "request.denied" {
		t.Error("a new minute does not begin with an entry")
	}
}
