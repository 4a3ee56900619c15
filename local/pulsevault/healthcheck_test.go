package main_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// What a container's health check says is what the process in it says of itself.
func TestHealthcheckSaysWhatTheServerSays(t *testing.T) {
	root := t.TempDir()
	server := start(t, "serve", root)
	addr := strings.TrimPrefix(server.url, "http://")
	_, port, _ := net.SplitHostPort(addr)
	check := func(settings []string, args ...string) (int, string) {
		return run(t, root, settings, append([]string{"healthcheck"}, args...)...)
	}
	for _, host := range []string{"127.0.0.1", "0.0.0.0"} {
		if code, out := check([]string{"HOST=" + host, "PORT=" + port, "HTTP_PROXY=http://192.0.2.1"}); code != 0 || out != "ready\n" {
			t.Errorf("HOST=%s: exit status %d, said %q", host, code, out)
		}
	}
	if code, out := check(nil, "--addr", addr); code != 0 || out != "ready\n" {
		t.Errorf("--addr: exit status %d, said %q", code, out)
	}
	if code, out := check(nil); code != 1 || !strings.Contains(out, "--addr") { // PORT=0
		t.Errorf("no port: exit status %d, said %q", code, out)
	}
	replaceByFile(t, filepath.Join(root, "audit"))
	if code, out := check(nil, "--addr", addr); code != 1 || out != "pulsevault: not ready: down are audit\n" {
		t.Errorf("without the audit log: exit status %d, said %q", code, out)
	}
	server.stop()
	if code, out := check(nil, "--addr", addr); code != 1 || !strings.Contains(out, "nobody answers at "+addr) {
		t.Errorf("without the server: exit status %d, said %q", code, out)
	}
}

func TestHealthcheckOfSomethingElse(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	code, out := run(t, t.TempDir(), nil, "healthcheck", "--addr", other.Listener.Addr().String())
	if code != 1 || !strings.Contains(out, "404 Not Found") {
		t.Errorf("exit status %d, said %q", code, out)
	}
}
