package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// ward serves one video of dr-no's, records into the audit log of an App, and takes everybody for bob.
type ward struct {
	t  *testing.T
	h  http.Handler
	id vault.VideoID
}

func newWard(t *testing.T, c app.Config) *ward {
	t.Helper()
	log, err := audit.Open(audit.Config{Dir: c.AuditDir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := &media.Dir{Videos: c.VideoDir, Pending: t.TempDir()}
	w := &ward{t: t, id: vault.NewVideoID()}
	record, err := metadata.Marshal(vault.Video{VideoID: w.id, UserID: "dr-no", Status: vault.Uploaded, Version: metadata.Version})
	if err == nil {
		_, err = dir.Write(t.Context(), media.MetaKey(w.id), record, media.Any)
	}
	if err == nil {
		_, err = dir.Write(t.Context(), media.OriginalKey(w.id), []byte("bytes"), media.Any)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.New(streamSecret, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream.Streamer{
		Signer: signer, Media: dir, Videos: &metadata.Store{Media: dir, Now: time.Now}, Audit: log, Expiry: time.Minute, MaxExpiry: time.Hour, Log: slog.New(slog.DiscardHandler),
	}
	mux := http.NewServeMux()
	mux.Handle("/media/sign", web.Handler(s.ServeSign))
	mux.Handle("/media/videos/{id}/{path...}", web.Handler(s.ServeMedia))
	o := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
	bob := auth.Caller{Name: "bob", KeyID: "a1b2c3d4", Roles: []auth.Role{auth.Uploader}}
	w.h = o.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(rw, r.WithContext(auth.With(r.Context(), bob)))
	}))
	return w
}

// breakGlass gives a link in an emergency, which is then used so often.
func (w *ward) breakGlass(reason string, uses int) {
	w.t.Helper()
	body := fmt.Sprintf(`{"videoId":%q,"path":"original.mp4","emergency":{"reason":%q}}`, w.id, reason)
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, httptest.NewRequest("POST", "/media/sign", strings.NewReader(body)))
	var a struct{ URL string }
	if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil || rec.Code != 200 {
		w.t.Fatal(rec.Code, rec.Body)
	}
	for range uses {
		if got := ask(w.h, "GET", a.URL, "Range", "bytes=0-1"); got.Code != 206 {
			w.t.Fatal(got.Code, got.Body)
		}
	}
}

// Each link that was given in an emergency is listed with its own uses, and the log is whole.
func TestEmergenciesAreListedWithTheirUses(t *testing.T) {
	_, c := newApp(t, nil)
	if links, err := app.Emergencies(t.Context(), c, audit.Days{}); err != nil || len(links) != 0 {
		t.Fatalf("%v, %v", links, err)
	}
	w := newWard(t, c)
	w.breakGlass("the patient is in surgery", 3)
	w.breakGlass("and the surgeon calls again", 1)
	w.breakGlass("nobody needs this one any more", 0)
	links, err := app.Emergencies(t.Context(), c, audit.Days{})
	if err != nil || len(links) != 3 {
		t.Fatalf("%+v, %v", links, err)
	}
	for i, want := range []struct {
		reason string
		uses   int
	}{{"the patient is in surgery", 3}, {"and the surgeon calls again", 1}, {"nobody needs this one any more", 0}} {
		l := links[i]
		if l.Reason != want.reason || len(l.Uses) != want.uses || l.UserID != "bob" || l.KeyID != "a1b2c3d4" || l.VideoID != string(w.id) || l.Path != "original.mp4" ||
			l.HadRight || l.Address != "192.0.2.0" || l.ExpiresAt.Sub(l.Time) > 15*time.Minute || l.ExpiresAt.Before(l.Time) || l.EventID == "" {
			t.Errorf("%+v", l)
		}
		for _, u := range l.Uses {
			if u.Path != "original.mp4" || u.Method != "GET" || u.Range != "bytes=0-1" || u.Address != "192.0.2.0" || u.Time.Before(l.Time) {
				t.Errorf("%+v", u)
			}
		}
	}
	today := links[0].Time.UTC()
	for _, tc := range []struct {
		from, to int // days from today
		want     int
	}{{-1, 1, 3}, {1, 1, 0}, {-2, -1, 0}} {
		days := audit.Days{From: today.AddDate(0, 0, tc.from).Format(time.DateOnly), To: today.AddDate(0, 0, tc.to).Format(time.DateOnly)}
		if got, err := app.Emergencies(t.Context(), c, days); err != nil || len(got) != tc.want {
			t.Errorf("%+v: %d, %v", days, len(got), err)
		}
	}
	if report := verifyAudit(t, c); !report.OK() || !strings.Contains(report.String(), "emergency  3 entries") {
		t.Errorf("%s", report)
	}
}

// What can be read is listed although something cannot, and that is said.
func TestEmergenciesInADamagedLog(t *testing.T) {
	_, c := newApp(t, nil)
	w := newWard(t, c)
	w.breakGlass("the patient is in surgery", 1)
	damage(t, c.AuditDir, "access-*.log")
	links, err := app.Emergencies(t.Context(), c, audit.Days{})
	if err == nil || !strings.Contains(err.Error(), "audit verify") || len(links) != 1 {
		t.Errorf("%d links, %v", len(links), err)
	}
}

// damage changes a character of the only log of that name.
func damage(t *testing.T, dir, name string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, name))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	data, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(logs[0], bytes.Replace(data, []byte("original.mp4"), []byte("Original.mp4"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}
