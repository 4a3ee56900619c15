package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// The command reads the settings that serve reads, and its exit status says whether anything is off.
func TestComplianceOfTheSettings(t *testing.T) {
	secret := strings.Repeat("s", 32)
	on := []string{"APP_ENV=production", "HMAC_SECRET=" + secret, "AUTH_MODE=apikey"}
	code, out := run(t, t.TempDir(), on, "compliance")
	if code != 0 || strings.Contains(out, "\n  off ") || !strings.Contains(out, "164.312(d) Person or entity authentication (required)") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
	code, out = run(t, t.TempDir(), append(on, "CORS_ORIGINS=*"), "compliance")
	if code != 1 || !strings.Contains(out, "CORS_ORIGINS=*") || strings.Contains(out, secret) {
		t.Errorf("with CORS_ORIGINS=*, exit status %d:\n%s", code, out)
	}
	code, out = run(t, t.TempDir(), append(on, "REDIS_HOST=redis.example"), "compliance", "--json")
	var report struct {
		Off        int
		Safeguards []struct{ Paragraph string }
	}
	text, _, _ := strings.Cut(out, "\npulsevault: ")
	if err := json.Unmarshal([]byte(text), &report); err != nil || code != 1 || report.Off != 2 || len(report.Safeguards) != 12 {
		t.Errorf("exit status %d, %+v, %v:\n%s", code, report, err, out)
	}
	if code, out = run(t, t.TempDir(), []string{"APP_ENV=production"}, "compliance"); code != 1 || !strings.Contains(out, "HMAC_SECRET") {
		t.Errorf("without what production needs, exit status %d: %s", code, out)
	}
}
