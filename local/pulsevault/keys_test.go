package main_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// keysCommand runs pulsevault keys and returns what it says on standard output.
func keysCommand(t *testing.T, root string, settings []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"keys"}, args...)...)
	cmd.Dir = t.TempDir() // where there is no .env
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "MEDIA_ROOT=" + root}, settings...)
	out, err := cmd.Output()
	return string(out), err
}

// A key is made while nothing runs, opens every process from then on, and none a second after it is revoked. It stands
// nowhere but where its owner has put it.
func TestKeysEndEverywhere(t *testing.T) {
	root, settings := t.TempDir(), append(redisSettings(t), "AUTH_MODE=apikey")
	shown, err := keysCommand(t, root, settings, "create", "--name", "front desk", "--role", "uploader", "--expires", "90d")
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(shown)
	if len(key) != 55 || !strings.HasPrefix(key, "pv_") {
		t.Fatalf("made %q", shown)
	}
	processes := []client{{t, start(t, "serve", root, settings...).url}, {t, start(t, "serve", root, settings...).url}, {t, start(t, "emulate", root, settings...).url}}
	create := func(c client) int {
		a, err := c.try("POST", "/uploads", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10", "Authorization", "Bearer "+key)
		if err != nil {
			t.Fatal(err)
		}
		return a.status
	}
	for i, c := range processes {
		if got := create(c); got != http.StatusCreated {
			t.Errorf("process %d: %d with a good key", i, got)
		}
		c.do(http.StatusUnauthorized, "POST", "/uploads", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "10")
	}
	id := key[3:11]
	list, err := keysCommand(t, root, settings, "list")
	if err != nil || !strings.Contains(list, id) || !strings.Contains(list, "front desk") || !strings.Contains(list, "active") || strings.Contains(list, key[12:]) {
		t.Errorf("listed %s, %v", list, err)
	}
	if _, err := keysCommand(t, root, settings, "revoke", id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // which is what is promised
	for i, c := range processes {
		if got := create(c); got != http.StatusUnauthorized {
			t.Errorf("process %d: %d with a revoked key", i, got)
		}
	}
	var keys []struct{ ID, State, Key string }
	list, err = keysCommand(t, root, settings, "list", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(list), &keys)
	}
	if err != nil || len(keys) != 1 || keys[0].ID != id || keys[0].State != "revoked" || keys[0].Key != "" {
		t.Errorf("listed %s, %v", list, err)
	}
	if _, err := keysCommand(t, root, settings, "revoke", id); err == nil {
		t.Error("a key is revoked twice")
	}
	wantNowhere(t, root, key[12:])
	verifyAudit(t, root, settings...)
}

// wantNowhere looks for a secret in every file.
func wantNowhere(t *testing.T, root, secret string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), secret) {
			t.Errorf("%s holds a key", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestKeysThatCannotBeMade(t *testing.T) {
	for name, args := range map[string][]string{
		"no name":      {"create", "--role", "viewer"},
		"no role":      {"create", "--name", "x"},
		"unknown role": {"create", "--name", "x", "--role", "root"},
		"ended before": {"create", "--name", "x", "--role", "viewer", "--expires", "0d"},
		"no time":      {"create", "--name", "x", "--role", "viewer", "--expires", "soon"},
		"a newline":    {"create", "--name", "x\ny", "--role", "viewer"},
		"no such key":  {"revoke", "0badc0de"},
	} {
		if out, err := keysCommand(t, t.TempDir(), nil, args...); err == nil || strings.Contains(out, "pv_") {
			t.Errorf("%s: %s", name, out)
		}
	}
}
