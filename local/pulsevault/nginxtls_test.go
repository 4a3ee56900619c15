package main_test

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pulsevault/local/bench/rig"
)

// overTLS is a client of nginx over HTTPS.
func (f *front) overTLS(c *tls.Config) *http.Client {
	c.InsecureSkipVerify = true // the certificate is its own
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// TLS 1.2 and 1.3 with good ciphers and HTTP/2; nothing older. Whoever comes by it is told to keep to it.
func TestNginxSpeaksTLS(t *testing.T) {
	f := startFront(t, "HTTP_REDIRECT=true", "SERVER_NAME=video.clinic.example", "HTTPS_PORT=8443")
	for version, works := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		resp, err := f.overTLS(&tls.Config{MinVersion: version, MaxVersion: version}).Get("https://" + f.tls + "/healthz")
		if err != nil {
			if works {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
			continue
		}
		_ = resp.Body.Close()
		if !works || resp.ProtoMajor != 2 || resp.StatusCode != 200 {
			t.Errorf("%s: %s %s", tls.VersionName(version), resp.Proto, resp.Status)
		}
		wantSecured(t, "over TLS", resp.Header, nil, true)
	}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS13) {
			continue
		}
		resp, err := f.overTLS(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{s.ID}}).Get("https://" + f.tls + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		good := strings.HasPrefix(s.Name, "TLS_ECDHE_ECDSA_") && (strings.Contains(s.Name, "_GCM_") || strings.Contains(s.Name, "_POLY1305")) // the certificate's kind
		if (err == nil) != good {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	redirected := client{t, "http://" + f.plain}
	http.DefaultClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() { http.DefaultClient.CheckRedirect = nil })
	a := redirected.do(308, "GET", "/videos?limit=1", nil)
	if got := a.header.Get("Location"); got != "https://video.clinic.example:8443/videos?limit=1" {
		t.Errorf("sent to %s", got)
	}
	wantSecured(t, "a redirect", a.header, nil, false)
}

// Until HTTP_REDIRECT is set, HTTP serves too; /health and /metrics answer, the latter for addresses inside only.
func TestNginxServesHTTPUntilItIsToldOtherwise(t *testing.T) {
	f := prepareFront(t)
	folder := f.render(nil)
	f.startNginx(folder)
	outside := client{t, "http://" + f.plain}
	outside.do(200, "GET", "/health", nil)
	if a := outside.do(200, "GET", "/metrics", nil); !strings.Contains(string(a.body), "pulsevault_uploads_total") {
		t.Errorf("%.200s", a.body)
	}
	inside := client{t, "http://" + f.inside}
	if a := inside.do(200, "GET", "/nginx/metrics", nil); !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version=0.0.4") || !strings.Contains(string(a.body), "\nnginx_connections_active ") {
		t.Errorf("%v %s", a.header, a.body)
	}
	inside.do(200, "GET", "/nginx/health", nil)
	inside.do(404, "GET", "/videos", nil)
	// The same, where 127.0.0.1 is not inside.
	config := filepath.Join(folder, "conf.d", "20-front.conf")
	f.write(config, strings.Replace(f.read(config), "127.0.0.0/8 1;", "", 1))
	f.plain, f.tls, f.inside = freeAddress(t), freeAddress(t), freeAddress(t)
	f.restartElsewhere(folder, outside.url[len("http://"):])
	outside.url = "http://" + f.plain
	if a := outside.do(403, "GET", "/metrics", nil); !strings.Contains(string(a.body), `"forbidden"`) {
		t.Errorf("%s", a.body)
	}
	outside.do(200, "GET", "/health", nil)
}

// restartElsewhere starts another nginx with the same configuration, on the addresses that f now has.
func (f *front) restartElsewhere(folder, before string) {
	f.t.Helper()
	for _, name := range []string{"20-front.conf", "30-internal.conf"} {
		path := filepath.Join(folder, "conf.d", name)
		var text strings.Builder
		for line := range strings.Lines(f.read(path)) {
			word := strings.TrimSpace(line)
			switch {
			case !strings.HasPrefix(word, "listen "):
			case name == "30-internal.conf":
				line = "listen " + f.inside + ";\n"
			case strings.Contains(word, before):
				line = "listen " + f.plain + ";\n"
			default:
				line = "listen " + f.tls + " ssl;\n"
			}
			text.WriteString(line)
		}
		f.write(path, text.String())
	}
	main := filepath.Join(folder, "nginx.conf")
	f.write(main, strings.Replace(f.read(main), "/nginx.pid", "/other.pid", 1))
	f.startNginx(folder)
}

// A bad setting stops the start with one line that names it.
func TestNginxSettingsAreChecked(t *testing.T) {
	env, err := rig.NginxSettings(t.Context(), nginxFolder)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"RATE_UPLOAD": "10", "RATE_UPLOAD_BURST": "5", "RATE_API": "100", "RATE_API_BURST": "50", "RATE_MEDIA": "50", "RATE_MEDIA_BURST": "20", "RATE_CONNECTIONS": "10",
		"MEDIA_CACHE_SIZE": "10g", "MEDIA_CACHE_TIME": "30d", "HTTP_REDIRECT": "false", "CORS_ORIGINS": "",
	} {
		if env[name] != value {
			t.Errorf("%s is %q by default, want %q", name, env[name], value)
		}
	}
	for _, setting := range []string{
		"RATE_API=0", "RATE_API=10r/s", "RATE_API=1; }", "RATE_UPLOAD=\n10", "SERVER_NAME=a b", "HTTP_REDIRECT=yes", "HTTPS_PORT=https", "TLS_CERTIFICATE=relative", "TLS_CERTIFICATE=/a;b",
		"CORS_ORIGINS=clinic.example", `CORS_ORIGINS=https://a";`, "MEDIA_CACHE_SIZE=10GB", "MEDIA_CACHE_TIME=x", "PULSEVAULT_ADDR=http://x", "AUDIT_IP=none", "RATE_CONNECTIONS=-1", "RATE_CONNECTIONS=60000",
	} {
		name, value, _ := strings.Cut(setting, "=")
		if _, err := rig.NginxSettings(t.Context(), nginxFolder, setting); err == nil || !strings.Contains(err.Error(), name+"=\""+value+`" is not allowed: it must be `) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	for _, setting := range []string{"CORS_ORIGINS=*", "CORS_ORIGINS=https://a.example, http://b.example:8080", "SERVER_NAME=video.clinic.example", "PULSEVAULT_ADDR=172.30.0.10:3000", "LISTEN_HTTP=[::]:8080", "RATE_CONNECTIONS=59999"} {
		if _, err := rig.NginxSettings(t.Context(), nginxFolder, setting); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
