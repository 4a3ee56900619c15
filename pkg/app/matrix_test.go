package app_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"pulsevault/pkg/app"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
)

// Who hears what of which route: by role, the status for what is the caller's own, for another's, and for what is not there; or
// one for all three. nobody shows nothing, and wrong a key that is none.
var matrix = map[string]map[string]string{
	"POST /uploads":                  {"nobody": "401", "wrong": "401", "uploader": "201", "viewer": "403", "service": "201", "admin": "201"},
	"HEAD /uploads/{id}":             {"nobody": "401", "wrong": "401", "uploader": "200 404 404", "viewer": "403", "service": "200 200 404", "admin": "200 200 404"},
	"PATCH /uploads/{id}":            {"nobody": "401", "wrong": "401", "uploader": "204 404 404", "viewer": "403", "service": "204 204 404", "admin": "204 204 404"},
	"DELETE /uploads/{id}":           {"nobody": "401", "wrong": "401", "uploader": "204 404 404", "viewer": "403", "service": "204 204 404", "admin": "204 204 404"},
	"GET /uploads/status/{id}":       {"nobody": "401", "wrong": "401", "uploader": "200 404 404", "viewer": "403", "service": "200 200 404", "admin": "200 200 404"},
	"POST /uploads/finalize":         {"nobody": "401", "wrong": "401", "uploader": "200 404 404", "viewer": "403", "service": "200 200 404", "admin": "200 200 404"},
	"POST /media/sign":               {"nobody": "401", "wrong": "401", "uploader": "200 404 404", "viewer": "200 200 404", "service": "200 200 404", "admin": "200 200 404"},
	"GET /media/videos/{id}/{path+}": {"nobody": "401", "wrong": "401", "uploader": "401", "viewer": "401", "service": "401", "admin": "401"},
	"GET /videos":                    {"nobody": "401", "wrong": "401", "uploader": "200", "viewer": "200", "service": "200", "admin": "200"},
	"GET /videos/{id}":               {"nobody": "401", "wrong": "401", "uploader": "200 404 404", "viewer": "200 200 404", "service": "200 200 404", "admin": "200 200 404"},
	"DELETE /videos/{id}":            {"nobody": "401", "wrong": "401", "uploader": "403", "viewer": "403", "service": "403", "admin": "204 204 404"},
	"GET /":                          {"nobody": "200", "wrong": "200", "uploader": "200", "viewer": "200", "service": "200", "admin": "200"},
	"GET /healthz":                   {"nobody": "200", "wrong": "200", "uploader": "200", "viewer": "200", "service": "200", "admin": "200"},
	"GET /internal/media/authorize":  {"nobody": "404", "wrong": "404", "uploader": "404", "viewer": "404", "service": "404", "admin": "404"},
	"GET /readyz":                    {"nobody": "200", "wrong": "200", "uploader": "200", "viewer": "200", "service": "200", "admin": "200"},
}

// answering is a host, as a client sees it.
type answering func(method, target string, body []byte, headers http.Header) (status int, header http.Header, text string)

func overHTTP(a *app.App) answering {
	h := a.Handler(app.Server...)
	return func(method, target string, body []byte, headers http.Header) (int, http.Header, string) {
		r := httptest.NewRequest(method, target, bytes.NewReader(body))
		r.Header = headers.Clone()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Header(), w.Body.String()
	}
}

// overLambda asks the function that a route belongs to, by REST events.
func overLambda(t *testing.T, a *app.App) answering {
	return func(method, target string, body []byte, headers http.Header) (int, http.Header, string) {
		function := app.Upload
		for _, r := range app.Routes() {
			if first, _, _ := strings.Cut(r.Path, "{"); first == target || first != r.Path && first != "/" && strings.HasPrefix(target, first) && r.Function != app.Upload {
				function = r.Function
			}
		}
		response, err := a.Proxy(function).ProxyWithContext(t.Context(), events.APIGatewayProxyRequest{
			HTTPMethod: method, Path: target, MultiValueHeaders: headers, Body: base64.StdEncoding.EncodeToString(body), IsBase64Encoded: true,
			RequestContext: events.APIGatewayProxyRequestContext{Identity: events.APIGatewayRequestIdentity{SourceIP: "192.0.2.1"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.MultiValueHeaders, response.Body
	}
}

// tenant is an installation with a key for every role.
type tenant struct {
	t    *testing.T
	ask  answering
	keys map[string]string // by role; the key's name is "the " and the role
}

func newTenant(t *testing.T, host func(*app.App) answering, more ...string) tenant {
	t.Helper()
	settings := map[string]string{"AUTH_MODE": "apikey", "TRANSCODE_ENABLED": "false"}
	for _, s := range more {
		name, value, _ := strings.Cut(s, "=")
		settings[name] = value
	}
	a, c := newApp(t, settings)
	ring, err := app.OpenKeys(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n := tenant{t, host(a), map[string]string{"wrong": "pv_0badc0de_" + strings.Repeat("A", 43)}}
	for _, role := range auth.Roles {
		if n.keys[string(role)], _, err = ring.Create(t.Context(), "the "+string(role), []auth.Role{role}, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	return n
}

// as asks in a role; headers are given as name and value.
func (n tenant) as(role, method, target string, body []byte, headers ...string) (int, http.Header, string) {
	h := http.Header{"Tus-Resumable": {"1.0.0"}}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	if key := n.keys[role]; key != "" {
		h.Set("Authorization", "Bearer "+key)
	}
	return n.ask(method, target, body, h)
}

// video is a file that is taken for one.
var video = append([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x10\x00free"), make([]byte, 100)...)

// upload makes an upload of an owner's, of which so many bytes are there.
func (n tenant) upload(owner string, have int) string {
	n.t.Helper()
	status, header, text := n.as("service", "POST", "/uploads", video[:have], "Upload-Length", strconv.Itoa(len(video)),
		"Content-Type", "application/offset+octet-stream", "X-User-Id", owner)
	if status != http.StatusCreated {
		n.t.Fatal(status, text)
	}
	return path.Base(header.Get("Location"))
}

// store makes a video of an owner's.
func (n tenant) store(owner string) string {
	n.t.Helper()
	status, _, text := n.as("service", "POST", "/uploads/finalize", fmt.Appendf(nil, `{"uploadId":%q,"filename":"a.mp4"}`, n.upload(owner, len(video))))
	var stored struct{ VideoID string }
	if err := json.Unmarshal([]byte(text), &stored); err != nil || status != http.StatusOK {
		n.t.Fatal(status, text, err)
	}
	return stored.VideoID
}

// request asks for a route about an upload, or a video, in a role, and returns the status.
func (n tenant) request(role, route, id string) (int, string) {
	method, address, _ := strings.Cut(route, " ")
	var body []byte
	headers := []string{"Content-Type", "application/json"}
	switch route {
	case "POST /uploads":
		headers = []string{"Upload-Length", "10"}
	case "PATCH /uploads/{id}":
		body, headers = video[10:], []string{"Upload-Offset", "10", "Content-Type", "application/offset+octet-stream"}
	case "POST /uploads/finalize":
		body = fmt.Appendf(nil, `{"uploadId":%q,"filename":"a.mp4"}`, id)
	case "POST /media/sign":
		body = fmt.Appendf(nil, `{"videoId":%q,"path":"original.mp4"}`, id)
	}
	address = strings.NewReplacer("{id}", id, "{path+}", "original.mp4").Replace(address)
	status, header, text := n.as(role, method, address, body, headers...)
	if got := header.Get("WWW-Authenticate"); (status == http.StatusUnauthorized && !strings.HasPrefix(address, "/media/videos/")) != (got == "Bearer") {
		n.t.Errorf("%s as %s: %d with WWW-Authenticate %q", route, role, status, got)
	}
	return status, text
}

// Every route, every role, and things that are one's own, another's and not there: on a server, and as functions.
func TestWhoMayDoWhat(t *testing.T) {
	for name, host := range map[string]func(*app.App) answering{
		"server": overHTTP, "functions": func(a *app.App) answering { return overLambda(t, a) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newTenant(t, host)
			for _, r := range app.Routes() {
				for _, method := range r.Methods {
					route := method + " " + r.Path
					if len(matrix[route]) != 6 {
						t.Errorf("the matrix does not say who hears what of %s", route)
					}
					for role, want := range matrix[route] {
						n.check(route, role, want)
					}
				}
			}
		})
	}
}

func (n tenant) check(route, role, want string) {
	n.t.Helper()
	statuses := strings.Fields(want)
	for i, of := range []string{"the " + role, "somebody else", ""} {
		id := string(vault.NewUploadID())
		switch {
		case of == "":
		case strings.HasSuffix(route, "/sign"), strings.HasSuffix(route, " /videos/{id}"):
			id = n.store(of)
		case strings.HasSuffix(route, "/finalize"):
			id = n.upload(of, len(video))
		default:
			id = n.upload(of, 10)
		}
		status, text := n.request(role, route, id)
		if strconv.Itoa(status) != statuses[min(i, len(statuses)-1)] {
			n.t.Errorf("%s as %s about what is %q's: %d, want %s: %s", route, role, of, status, want, text)
		}
	}
}

// What everybody may ask for without saying who they are, beside the routes that say so.
func TestWhatIsPublic(t *testing.T) {
	n := newTenant(t, overHTTP)
	for request, want := range map[string]int{
		"OPTIONS /uploads": 200, "GET /metrics": 200, "GET /metrics/redis": 200, "GET /uploads": 401, "POST /uploads/": 401, "PUT /media/sign": 405, "GET /nothing": 404,
	} {
		method, target, _ := strings.Cut(request, " ")
		if status, _, text := n.as("nobody", method, target, nil); status != want {
			t.Errorf("%s: %d, want %d: %s", request, status, want, text)
		}
	}
	status, _, _ := n.as("nobody", "POST", "/uploads", nil, "X-HTTP-Method-Override", "OPTIONS")
	if status != 401 {
		t.Errorf("a POST that wants to be an OPTIONS: %d", status)
	}
}

// Whoever acts is in the log: in whose name, and, where that is another's, who and with which key.
func TestWhoeverActsIsOnRecord(t *testing.T) {
	var c app.Config
	n := newTenant(t, func(a *app.App) answering { c = a.Config(); return overHTTP(a) })
	id := n.upload("ann", len(video))
	if status, text := n.request("service", "POST /uploads/finalize", id); status != 200 {
		t.Fatal(status, text)
	}
	var seen []string
	for _, e := range entries(t, c, "upload") {
		details := e["details"].(map[string]any)
		seen = append(seen, fmt.Sprint(e["action"], e["userId"], details["actor"], details["keyId"] != nil))
	}
	if want := []string{"upload.completedann" + "the service" + "true", "video.finalizedann" + "the service" + "true"}; !slices.Equal(seen, want) {
		t.Errorf("%q, want %q", seen, want)
	}
	var made int
	for _, e := range entries(t, c, "auth") {
		if e["action"] == "key.created" && strings.HasPrefix(e["userId"].(string), "the ") {
			made++
		}
	}
	if made != 4 {
		t.Errorf("%d keys made are on record", made)
	}
}

// What a role is given a link to, it is served, and a proxy in front is told to serve it; nobody is served without a link, whatever
// their role, and who is no proxy is told nothing.
func TestWhoIsServed(t *testing.T) {
	n := newTenant(t, overHTTP, "TRUSTED_PROXIES=192.0.2.0/24")
	far := newTenant(t, overHTTP)
	for _, role := range auth.Roles {
		for _, of := range []string{"the " + string(role), "somebody else"} {
			id := n.store(of)
			plain := "/media/videos/" + id + "/original.mp4"
			status, _, text := n.as(string(role), "POST", "/media/sign", fmt.Appendf(nil, `{"videoId":%q,"path":"original.mp4"}`, id))
			var link struct{ URL string }
			if err := json.Unmarshal([]byte(text), &link); err != nil {
				t.Fatal(err)
			}
			if given := role != auth.Uploader || of == "the uploader"; (status == 200) != given || given == (link.URL == "") {
				t.Errorf("%s is answered %d about what is %s's, %s", role, status, of, text)
			}
			for target, want := range map[string][2]int{link.URL: {200, 204}, plain: {401, 401}} {
				if target == "" {
					continue
				}
				if status, _, _ := n.as(string(role), "GET", target, nil); status != want[0] {
					t.Errorf("%s: GET %s: %d", role, target, status)
				}
				asked := []string{"X-Original-URI", target, "X-Original-Method", "GET"}
				if status, _, _ := n.as(string(role), "GET", "/internal/media/authorize", nil, asked...); status != want[1] {
					t.Errorf("%s: a proxy is told %d about %s", role, status, target)
				}
				if status, _, _ := far.as(string(role), "GET", "/internal/media/authorize", nil, asked...); status != 404 {
					t.Errorf("%s: who is no proxy is told %d", role, status)
				}
			}
		}
	}
}

// Where owners may delete, they delete their own and hear of no others; the rest of the matrix stays as it is.
func TestWhoMayDeleteWhereOwnersMay(t *testing.T) {
	n := newTenant(t, overHTTP, "OWNER_DELETE=true")
	for role, want := range map[string]string{"nobody": "401", "wrong": "401", "uploader": "204 404 404", "viewer": "403", "service": "403", "admin": "204 204 404"} {
		n.check("DELETE /videos/{id}", role, want)
	}
}
