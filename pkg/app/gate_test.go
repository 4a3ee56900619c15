package app_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pulsevault/pkg/app"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/redisdb/redistest"
)

// known are callers by what they show.
type known map[string]auth.Caller

func (k known) Authenticate(_ context.Context, credential string) (auth.Caller, error) {
	if c, ok := k[credential]; ok {
		return c, nil
	}
	return auth.Caller{}, auth.UnknownKey
}

var crew = known{
	"U": {Name: "ann", Roles: []auth.Role{auth.Uploader}}, "V": {Name: "vic", Roles: []auth.Role{auth.Viewer}},
	"S": {Name: "svc", Roles: []auth.Role{auth.Service}}, "A": {Name: "adm", Roles: []auth.Role{auth.Admin}}, "N": {Name: "nil"},
}

// Every route says what it is for. What does not, is nobody's, not even where nobody is asked who they are.
func TestEveryRouteSaysWhatItIsFor(t *testing.T) {
	for _, r := range app.Routes() {
		if r.Action != auth.Public && !slices.Contains(auth.Actions, r.Action) {
			t.Errorf("%s has the action %q", r.Path, r.Action)
		}
	}
	a, _ := newApp(t, nil)
	reached := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, action := range []auth.Action{"", "uplaod"} {
		for who, callers := range map[string]auth.Authenticator{"nobody is asked": auth.Nobody{}, "an admin": crew} {
			if w := ask(a.Guard(callers, action, reached), "GET", "/x", "Authorization", "Bearer A"); w.Code != http.StatusForbidden {
				t.Errorf("%s, action %q: %d", who, action, w.Code)
			}
		}
	}
}

func TestTheGate(t *testing.T) {
	a, _ := newApp(t, nil)
	name := ""
	h := a.Guard(crew, auth.Upload, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name = auth.From(r.Context()).UserID()
		w.WriteHeader(http.StatusNoContent)
	}))
	for _, tc := range []struct {
		why     string
		headers []string
		want    int
		name    string
	}{
		{"nothing shown", nil, 401, ""},
		{"unknown", []string{"Authorization", "Bearer X"}, 401, ""},
		{"another scheme", []string{"Authorization", "Basic U"}, 401, ""},
		{"no scheme", []string{"Authorization", "U"}, 401, ""},
		{"scheme in another case", []string{"Authorization", "bearer U"}, 204, "ann"},
		{"uploader", []string{"Authorization", "Bearer U"}, 204, "ann"},
		{"viewer", []string{"Authorization", "Bearer V"}, 403, ""},
		{"no role", []string{"Authorization", "Bearer N"}, 403, ""},
		{"own name", []string{"Authorization", "Bearer U", "X-User-Id", "ann"}, 204, "ann"},
		{"another's name", []string{"Authorization", "Bearer U", "X-User-Id", "bob"}, 403, ""},
		{"admin in another's name", []string{"Authorization", "Bearer A", "X-User-Id", "bob"}, 403, ""},
		{"service in another's name", []string{"Authorization", "Bearer S", "X-User-Id", "bob"}, 204, "bob"},
		{"service in its own", []string{"Authorization", "Bearer S"}, 204, "svc"},
		{"service in none", []string{"Authorization", "Bearer S", "X-User-Id", ""}, 400, ""},
	} {
		name = ""
		w := ask(h, "POST", "/uploads", tc.headers...)
		if w.Code != tc.want || name != tc.name {
			t.Errorf("%s: %d as %q, want %d as %q", tc.why, w.Code, name, tc.want, tc.name)
		}
		if got := w.Header().Get("WWW-Authenticate"); (got == "Bearer") != (tc.want == 401) {
			t.Errorf("%s: WWW-Authenticate %q", tc.why, got)
		}
	}
}

// In production a server that asks nobody who they are is refused unless that is meant, and then says so where operators look.
// One that asks does not tell its version before.
func TestAnOpenServerSaysSo(t *testing.T) {
	settings := map[string]string{"APP_ENV": "production", "MEDIA_ROOT": t.TempDir(), "HMAC_SECRET": strings.Repeat("s", 32), "ALLOW_UNAUTHENTICATED": "true", "TRANSCODE_ENABLED": "false"}
	mini := redistest.Mini(t)
	settings["REDIS_HOST"], settings["REDIS_PORT"] = mini.Host(), mini.Port()
	ready := func() (text, root, log string) {
		c, err := fromEnv(settings)
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		a, err := app.New(t.Context(), c, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		h := a.Handler(app.Health)
		text, root = ask(h, http.MethodGet, "/readyz").Body.String(), ask(h, http.MethodGet, "/").Body.String()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		return text, root, said.String()
	}
	text, root, log := ready()
	if !strings.Contains(text, `"warning":"nobody is asked`) || !strings.Contains(root, `"version"`) || !strings.Contains(log, "nobody is asked") {
		t.Errorf("an open server says %s, %s and %s", text, root, log)
	}
	settings["AUTH_MODE"] = "apikey"
	text, root, log = ready()
	if strings.Contains(text, "warning") || strings.Contains(root, "version") || strings.Contains(log, "nobody is asked") {
		t.Errorf("a server that asks says %s, %s and %s", text, root, log)
	}
}
