package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"pulsevault/pkg/app"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

func newApp(t *testing.T, settings map[string]string) (*app.App, app.Config) {
	t.Helper()
	mini := redistest.Mini(t)
	if settings == nil {
		settings = map[string]string{}
	}
	if settings["MEDIA_ROOT"] == "" {
		settings["MEDIA_ROOT"] = t.TempDir()
	}
	settings["REDIS_HOST"], settings["REDIS_PORT"] = mini.Host(), mini.Port()
	c, err := fromEnv(settings)
	if err != nil {
		t.Fatal(err)
	}
	return openApp(t, c), c
}

// openApp is one more process of an installation.
func openApp(t *testing.T, c app.Config) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// Processes that begin on one folder at once do not stumble over what each tries there. In containers they may all have
// the same pid, as here.
func TestManyBeginAtOnce(t *testing.T) {
	_, c := newApp(t, nil)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			a, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func ask(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Each function answers for its own routes and for no others.
func TestFunctionsHaveTheirOwnRoutes(t *testing.T) {
	a, _ := newApp(t, nil)
	routes := map[string][]string{
		app.Upload:   {"OPTIONS /uploads", "GET /uploads/status/" + string(vault.NewUploadID())},
		app.Finalize: {"GET /uploads/finalize"}, app.Sign: {"GET /media/sign"},
		app.Stream: {"GET /media/videos/x/original.mp4"}, app.Videos: {"GET /videos", "GET /videos/x"}, app.Health: {"GET /", "GET /healthz", "GET /readyz"},
	}
	for _, function := range app.Functions {
		h := a.Handler(function)
		for owner, list := range routes {
			for _, route := range list {
				method, path, _ := strings.Cut(route, " ")
				w := ask(h, method, path, "Tus-Resumable", "1.0.0")
				foreign := w.Code == http.StatusNotFound && strings.Contains(w.Body.String(), `"not_found"`)
				if (owner == function) == foreign && (function != app.Upload || owner != app.Finalize) {
					t.Errorf("%s answers %s with %d %s", function, route, w.Code, w.Body)
				}
			}
		}
	}
}

func TestCORS(t *testing.T) {
	a, _ := newApp(t, map[string]string{"CORS_ORIGINS": "https://clinic.example"})
	h := a.Handler(app.Server...)
	for origin, allowed := range map[string]bool{"https://clinic.example": true, "https://evil.example": false} {
		w := ask(h, http.MethodOptions, "/uploads", "Origin", origin, "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "upload-offset")
		if got := w.Header().Get("Access-Control-Allow-Origin"); (got == origin) != allowed {
			t.Errorf("%s: Access-Control-Allow-Origin %q", origin, got)
		}
	}
	closed, _ := newApp(t, nil)
	if w := ask(closed.Handler(app.Server...), http.MethodGet, "/healthz", "Origin", "https://clinic.example"); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("without CORS_ORIGINS a page of another origin is let in")
	}
}

// A TLS handshake begins with byte 0x16, a Redis command with an asterisk.
func TestRedisIsSpokenToAsConfigured(t *testing.T) {
	for setting, want := range map[string]byte{"false": '*', "true": 0x16} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := make(chan byte, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1)
			if _, err := conn.Read(b); err == nil {
				first <- b[0]
			}
			_ = conn.Close()
			_ = l.Close()
		}()
		host, port, _ := net.SplitHostPort(l.Addr().String())
		c, err := fromEnv(map[string]string{"MEDIA_ROOT": t.TempDir(), "REDIS_HOST": host, "REDIS_PORT": port, "REDIS_TLS": setting})
		if err != nil {
			t.Fatal(err)
		}
		a, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if got := <-first; got != want {
			t.Errorf("REDIS_TLS=%s: the first byte is %#x, want %#x", setting, got, want)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMetricsCanBeSwitchedOff(t *testing.T) {
	a, _ := newApp(t, map[string]string{"METRICS_ENABLED": "false"})
	if w := ask(a.Handler(app.Server...), http.MethodGet, "/metrics"); w.Code != http.StatusNotFound {
		t.Errorf("/metrics answers %d", w.Code)
	}
}

// An SQS event names the messages that must come again, and only those.
func TestBatchesFailInPart(t *testing.T) {
	a, c := newApp(t, nil)
	done, gone := vault.NewVideoID(), vault.NewVideoID()
	if err := os.WriteFile(filepath.Join(c.MediaRoot, "pending", string(gone)), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	task := func(id vault.VideoID) string { return fmt.Sprintf(`{"type":"transcode","videoId":%q}`, id) }
	response, err := a.PerformBatch(t.Context(), events.SQSEvent{Records: []events.SQSMessage{
		{MessageId: "garbage", Body: "garbage"}, {MessageId: "done", Body: task(done)},
		{MessageId: "gone", Body: task(gone)}, {MessageId: "odd", Body: `{"type":"x"}`},
	}})
	var failed []string
	for _, f := range response.BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	if err != nil || !slices.Equal(failed, []string{"garbage", "gone", "odd"}) {
		t.Errorf("%v, %v", failed, err)
	}
}

func TestDevelopmentSecretIsSharedAndPrivate(t *testing.T) {
	root := t.TempDir()
	first, _ := newApp(t, map[string]string{"MEDIA_ROOT": root})
	second, _ := newApp(t, map[string]string{"MEDIA_ROOT": root})
	w := httptest.NewRecorder()
	body := fmt.Sprintf(`{"videoId":%q,"path":"original.mp4"}`, vault.NewVideoID())
	first.Handler(app.Sign).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/media/sign", strings.NewReader(body)))
	var link struct{ URL string }
	if err := json.Unmarshal(w.Body.Bytes(), &link); err != nil {
		t.Fatal(err)
	}
	if w := ask(second.Handler(app.Stream), http.MethodGet, link.URL); w.Code != http.StatusNotFound {
		t.Errorf("a link of one process is answered with %d by another, want 404 for a video that is not there", w.Code)
	}
	info, err := os.Stat(filepath.Join(root, ".hmac-secret"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("secret %v, %v", info, err)
	}
}

// The sweep removes what expired, and forgets markers that lead nowhere.
func TestSweepTidiesUp(t *testing.T) {
	a, c := newApp(t, map[string]string{"UPLOAD_EXPIRY": "1m"})
	h := a.Handler(app.Server...)
	w := ask(h, http.MethodPost, "/uploads", "Tus-Resumable", "1.0.0", "Upload-Length", "10")
	if w.Code != http.StatusCreated {
		t.Fatal(w.Code, w.Body)
	}
	id := filepath.Base(w.Header().Get("Location"))
	record := filepath.Join(c.UploadDir, id+".json")
	data, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	a.Sweep(context.WithoutCancel(t.Context()))
	if _, err := os.Stat(record); err != nil {
		t.Errorf("a fresh upload was swept away: %v", err)
	}
	old := time.Now().Add(-time.Hour)
	year := time.Now().UTC().Format("2006")
	aged := strings.ReplaceAll(string(data), `"expiresAt":"`+year, `"expiresAt":"2001`)
	orphan := filepath.Join(c.UploadDir, "018cc251-f400-7000-8000-000000000001") // of the first of January 2024
	unborn := filepath.Join(c.UploadDir, string(vault.NewUploadID()))            // which is just being created
	var temps []string
	for _, dir := range []string{c.MediaRoot, c.UploadDir, filepath.Join(c.MediaRoot, "pending"), filepath.Join(c.MediaRoot, "pending", "deletions"), filepath.Join(c.MediaRoot, "auth")} {
		temps = append(temps, filepath.Join(dir, ".tmp-x"))
	}
	marker := filepath.Join(c.MediaRoot, "pending", string(vault.NewVideoID()))
	err = errors.Join(os.WriteFile(record, []byte(aged), 0o640), os.WriteFile(orphan, nil, 0o640), os.WriteFile(unborn, nil, 0o640),
		os.WriteFile(marker, nil, 0o640), os.Chtimes(orphan, old, old))
	for _, temp := range temps {
		err = errors.Join(err, os.MkdirAll(filepath.Dir(temp), 0o750), os.WriteFile(temp, nil, 0o640), os.Chtimes(temp, old.Add(-time.Hour), old.Add(-time.Hour)),
			os.WriteFile(temp+"-new", nil, 0o640)) // which is just being written
	}
	if err != nil {
		t.Fatal(err)
	}
	a.Sweep(context.WithoutCancel(t.Context()))
	if _, err := os.Stat(unborn); err != nil {
		t.Errorf("an upload that is being created was swept away: %v", err)
	}
	for _, path := range append(temps, record, strings.TrimSuffix(record, ".json"), orphan, marker) {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", path)
		}
	}
	for _, temp := range temps {
		if _, err := os.Stat(temp + "-new"); err != nil {
			t.Errorf("a file that is being written was swept away: %v", err)
		}
	}
}

// A function that finalizes while Redis does not take the video into the list is gone before any sweep of its own. The sweep of
// another process lists the video with those that want work.
func TestSweepListsWhatOthersCouldNot(t *testing.T) {
	settings := map[string]string{}
	a, _ := newApp(t, settings)
	h := a.Handler(app.Server...)
	mp4 := []byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x10\x00free" + strings.Repeat("x", 100))
	first := stored(t, h, mp4)
	if w := ask(h, http.MethodGet, "/videos"); !strings.Contains(w.Body.String(), first) {
		t.Fatalf("the list is %d %s", w.Code, w.Body)
	}
	second := stored(t, h, mp4)
	x := redisdb.VideoIndex{Client: redistest.Client(t, redisdb.Options{Addr: net.JoinHostPort(settings["REDIS_HOST"], settings["REDIS_PORT"])})}
	if err := x.Remove(t.Context(), vault.VideoID(second)); err != nil {
		t.Fatal(err)
	}
	if w := ask(h, http.MethodGet, "/videos"); strings.Contains(w.Body.String(), second) {
		t.Fatal("it is listed already")
	}
	a.Sweep(context.WithoutCancel(t.Context()))
	if w := ask(h, http.MethodGet, "/videos"); !strings.Contains(w.Body.String(), first) || !strings.Contains(w.Body.String(), second) {
		t.Errorf("after a sweep the list is %d %s", w.Code, w.Body)
	}
}

// Start and stop of a process are on record with a digest of its configuration: the same one for the same settings, another one where a
// setting is another. Of a secret it tells whether there is one, and nothing else.
func TestStartAndStopTellTheConfiguration(t *testing.T) {
	digest := func(changes map[string]string) string {
		settings := map[string]string{"HMAC_SECRET": strings.Repeat("s", 32), "REDIS_HOST": "redis", "MEDIA_ROOT": "/media"}
		maps.Copy(settings, changes)
		c, err := fromEnv(settings)
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest()
	}
	first := digest(nil)
	for _, other := range []map[string]string{{"TOKEN_EXPIRY_SECONDS": "301"}, {"AUTH_MODE": "apikey"}, {"TRUSTED_PROXIES": "10.0.0.1"}, {"REDIS_PASSWORD": "p"}, {"AUDIT_IP": "full"}} {
		if digest(other) == first {
			t.Errorf("%v makes no other digest", other)
		}
	}
	if len(first) != 64 || digest(nil) != first || digest(map[string]string{"HMAC_SECRET": strings.Repeat("t", 32)}) != first {
		t.Errorf("the digest %s is none of the settings alone", first)
	}
	a, c := newApp(t, map[string]string{"HMAC_SECRET": strings.Repeat("s", 32)})
	again, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	again.Started(t.Context(), "serve")
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range entries(t, c, "admin") {
		if details := e["details"].(map[string]any); details["process"] == "serve" {
			told = append(told, fmt.Sprint(e["action"], " ", details["config"]))
		}
	}
	want := a.Config().Digest()
	if !slices.Equal(told, []string{"process.started " + want, "process.stopped " + want}) {
		t.Errorf("told is %q, the digest is %s", told, want)
	}
}
