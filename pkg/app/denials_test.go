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
	more := map[string]string{}
	for _, e := range entries(t, c, "auth")[100:] {
		more[fmt.Sprint(e["ip"], e["userId"])] = fmt.Sprint(e["action"], e["details"])
	}
	want := map[string]string{
		"192.0.2.1vic": "auth.denialsmap[action:request.denied more:map[role:4]]", "192.0.2.1<nil>": "auth.denialsmap[action:request.denied more:map[unknown_key:4]]",
		"<nil> <nil>": "auth.denialsmap[others:102]",
	}
	if fmt.Sprint(more) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", more, want)
	}
	if strings.Contains(fmt.Sprint(entries(t, c, "auth")), "guess") {
		t.Error("a credential is in the log")
	}
	from("192.0.2.1", "V")
	if all := entries(t, c, "auth"); all[len(all)-1]["action"] != "request.denied" {
		t.Error("a new minute does not begin with an entry")
	}
}
