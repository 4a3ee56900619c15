package main_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/vault"
)

// The command lists what the log holds: for people who got what, why, and how often it was used; for programs everything.
func TestAuditEmergencies(t *testing.T) {
	root := t.TempDir()
	if code, out := run(t, root, nil, "audit", "emergencies"); code != 0 || !strings.Contains(out, "No link was given in an emergency.") {
		t.Errorf("exit status %d: %s", code, out)
	}
	log, err := audit.Open(audit.Config{Dir: filepath.Join(root, "audit")})
	if err != nil {
		t.Fatal(err)
	}
	video := vault.NewVideoID()
	const id = "0193a5c0-7d2e-7000-8000-000000000001"
	given := audit.Event{
		ID: id, Action: "emergency.granted", UserID: "bob", Address: "203.0.113.77", VideoID: string(video), Path: "hls/master.m3u8",
		Details: map[string]any{"reason": "the patient \u001b[2Jis in surgery", "keyId": "a1b2c3d4", "hadRight": false, "expiresAt": time.Now().Add(time.Minute).UTC()},
	}
	if err := log.Append(t.Context(), audit.Emergency, given); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"hls/master.m3u8", "hls/240p_000.ts"} {
		for _, details := range []map[string]any{{"method": "GET", "emergency": id}, {"method": "GET"}} {
			used := audit.Event{Action: "media.accessed", UserID: "bob", VideoID: string(video), Path: path, Details: details}
			if err := log.Note(t.Context(), audit.Access, used); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	code, out := run(t, root, nil, "audit", "emergencies", "--uses")
	rows := strings.Split(out, "\n")
	if code != 0 || !strings.HasPrefix(rows[0], "GIVEN (UTC)") || strings.Contains(out, "\u001b") || strings.Count(out, "GET") != 2 || !strings.Contains(out, "hls/240p_000.ts") {
		t.Errorf("exit status %d: %q", code, out)
	}
	for _, cell := range []string{"bob", "a1b2c3d4", "203.0.113.0", string(video), "hls/master.m3u8", "no  ", "2  ", "the patient  [2Jis in surgery"} {
		if !strings.Contains(rows[1], cell) {
			t.Errorf("no %q in %s", cell, rows[1])
		}
	}
	var list struct {
		Emergencies []struct {
			EventID string
			Uses    []struct{ Path string }
		}
	}
	code, out = run(t, root, nil, "audit", "emergencies", "--json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Emergencies) != 1 || list.Emergencies[0].EventID != id || len(list.Emergencies[0].Uses) != 2 {
		t.Errorf("exit status %d: %s, %v", code, out, err)
	}
	if code, out := run(t, root, nil, "audit", "emergencies", "--from", "yesterday"); code != 1 || !strings.Contains(out, "--from") {
		t.Errorf("no day: exit status %d: %s", code, out)
	}
	if code, out := run(t, root, nil, "audit", "emergencies", "--to", "2020-01-31"); code != 0 || strings.Contains(out, "bob") {
		t.Errorf("before: exit status %d: %s", code, out)
	}
}
