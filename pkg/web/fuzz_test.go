package web_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// A path that gets past the Observer means the same to every host: none decodes, shortens or redirects it.
func FuzzObserverPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/healthz", "/uploads//x", "/./healthz", "/healthz/", "/%68ealthz", "/..%2f", "/a%00b", "/a/../b", "/a/..", "/a/.", "/ä", "/a;b", "/a:b", "//x", "/a%2Fb", "/...", "/a/.b",
	} {
		f.Add(seed)
	}
	o := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		seen := ""
		h := o.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path }))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, (&http.Request{Method: "GET", URL: u, Header: http.Header{}}).WithContext(t.Context()))
		sent, _, _ := strings.Cut(target, "?")
		switch {
		case seen == "":
			if rec.Code != http.StatusNotFound {
				t.Errorf("%q is refused with %d", target, rec.Code)
			}
		case seen != sent || strings.TrimSuffix(seen, "/") != strings.TrimSuffix(path.Clean(seen), "/"):
			t.Errorf("%q is answered as %q", target, seen)
		}
	})
}

// A body that is taken is one that the strictest reading of JSON takes, with the same values; another is Invalid or TooLarge.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		`{"name":"x","n":1,"object":{"a":[{"b":null}]}}`, ` {} `, `[]`, `null`, `"x"`, ``, `{`, `{"name":"x","name":"y"}`, `{"Name":"x"}`, `{"n":1.5}`, `{"n":1e3}`,
		`{"object":{"a":1,"\u0061":2}}`, `{"object":{"a":"}{\"","b":"\\"}}`, `{"x":1}`, "{\"name\":\"\xff\"}", `{"object":[[[[]]]]}`, `{}{}`, `{"name":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	type body struct {
		Name   string          `json:"name"`
		N      *int64          `json:"n"`
		Object json.RawMessage `json:"object"`
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want body
		r := httptest.NewRequest("POST", "/", bytes.NewReader(data))
		err := web.DecodeJSON(httptest.NewRecorder(), r, &got)
		if err != nil {
			if kind := vault.KindOf(err); kind != vault.Invalid && kind != vault.TooLarge {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		strict := json.NewDecoder(bytes.NewReader(data))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&want); err != nil {
			t.Fatalf("%q is taken: %v", data, err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) {
			t.Errorf("%q is read as %s and not as %s", data, a, b)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(data, &members); err != nil {
			t.Fatal(err)
		}
		if n := depthOne(t, data); n != len(members) {
			t.Errorf("%q has %d members with %d names", data, n, len(members))
		}
	})
}

// depthOne counts the members of an object.
func depthOne(t *testing.T, data []byte) (n int) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
