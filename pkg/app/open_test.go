package app_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"pulsevault/pkg/app"
	"pulsevault/pkg/media/mediatest"
)

// The limits hold for all uploads that are open, over what a process remembers: a sweep counts them from where they are kept.
func TestOpenUploadsAreLimited(t *testing.T) {
	t.Run("in a folder", func(t *testing.T) { wantLimits(t, map[string]string{}) })
	t.Run("in a bucket", func(t *testing.T) {
		settings := map[string]string{}
		for _, setting := range mediatest.StartS3(t).Settings() {
			name, value, _ := strings.Cut(setting, "=")
			settings[name] = value
		}
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
			t.Setenv(name, settings[name])
		}
		wantLimits(t, settings)
	})
}

func wantLimits(t *testing.T, settings map[string]string) {
	maps.Copy(settings, map[string]string{"MAX_OPEN_UPLOADS": "2", "MAX_PENDING_BYTES": "100", "MAX_UPLOAD_SIZE": "60"})
	a, _ := newApp(t, settings)
	h := a.Handler(app.Server...)
	create := func(size string, status int) string {
		t.Helper()
		w := ask(h, http.MethodPost, "/uploads", "Tus-Resumable", "1.0.0", "Upload-Length", size)
		if w.Code != status {
			t.Fatalf("an upload of %s bytes: %d %s, want %d", size, w.Code, w.Body, status)
		}
		return w.Header().Get("Location")
	}
	first := create("50", 201)
	create("51", 507)
	create("50", 201)
	create("1", 503)
	a.Sweep(t.Context())
	create("1", 503)
	metrics := ask(h, http.MethodGet, "/metrics").Body.String()
	for _, line := range []string{"pulsevault_all_uploads_open 2", "pulsevault_all_uploads_pending_bytes 100"} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("there is no %q in the metrics", line)
		}
	}
	if w := ask(h, http.MethodDelete, first, "Tus-Resumable", "1.0.0"); w.Code != 204 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	create("50", 201)
}
