package app_test

import (
	"context"
	"net/http"
	"slices"
	"testing"

	"pulsevault/pkg/app"
	"pulsevault/pkg/auth"
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
