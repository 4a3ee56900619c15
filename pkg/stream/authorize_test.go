package stream_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
)

// authorize asks as a proxy does, about a request from an address.
func (w *world) authorize(from, method, uri string, headers ...string) *http.Response {
	w.t.Helper()
	resp, _ := w.get("GET", "/internal/media/authorize", append(headers, "X-Forwarded-For", from, "X-Original-Method", method, "X-Original-URI", uri)...)
	return resp
}

// records takes what has been recorded since, each as text, but for the ids of the requests.
func (w *world) records() (told []string) {
	w.audited.mu.Lock()
	defer w.audited.mu.Unlock()
	for _, list := range []*[]audit.Event{&w.audited.events, &w.audited.denied} {
		for _, e := range *list {
			e.RequestID = ""
			told = append(told, fmt.Sprint(e))
		}
		*list = nil
	}
	return told
}

// What a proxy is told of a request, and what is recorded, is what the request itself would hear and leave.
func TestProxiesAreToldWhatTheRequestWouldHear(t *testing.T) {
	w := newStrictWorld(t)
	folder := "/media/videos/" + string(w.id) + "/"
	sealed, err := token.Claims{KeyID: "key-ann", User: "ann"}.Seal()
	if err != nil {
		t.Fatal(err)
	}
	segment := w.linkAs(owner, "hls/240p_000.ts", "").URL
	expired := folder + "original.mp4?token=" + w.signer.Sign(sealed, string(w.id), "original.mp4", time.Now().Add(-time.Second))
	bound := w.linkAs(owner, "original.mp4", `,"bind":"ip"`).URL
	missing := w.linkAs(owner, "hls/240p_999.ts", "").URL
	hidden := folder + ".work-1/x?token=" + w.signer.Sign(sealed, string(w.id), ".work-1/x", time.Now().Add(time.Minute))
	urgent := w.linkAs(stranger, "original.mp4", surgery).URL
	for name, tc := range map[string]struct {
		method, uri, from string
		rng               string
		want              int
	}{
		"segment":       {"GET", segment, home, "", 204},
		"head":          {"HEAD", segment, home, "", 204},
		"range":         {"GET", segment, home, "bytes=0-1", 204},
		"original":      {"GET", bound, home, "bytes=900-", 204},
		"emergency":     {"GET", urgent, home, "", 204},
		"elsewhere":     {"GET", bound, "198.51.100.8", "", 401},
		"expired":       {"GET", expired, home, "", 401},
		"no token":      {"GET", folder + "original.mp4", home, "", 401},
		"wrong path":    {"GET", strings.Replace(segment, "000", "001", 1), home, "", 401},
		"two tokens":    {"GET", segment + "&token=x", home, "", 401},
		"no such file":  {"GET", missing, home, "", 404},
		"hidden":        {"GET", hidden, home, "", 404},
		"odd path":      {"GET", strings.Replace(segment, "hls/", "hls//", 1), home, "", 404},
		"dots":          {"GET", strings.Replace(segment, "hls/", "x/../hls/", 1), home, "", 404},
		"escaped":       {"GET", strings.Replace(segment, "hls/", "hls%2f", 1), home, "", 404},
		"elsewhere yet": {"GET", "/videos/" + string(w.id), home, "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			w.records()
			headers := []string{"X-Forwarded-For", tc.from}
			if tc.rng != "" {
				headers = append(headers, "Range", tc.rng)
			}
			itself, _ := w.get(tc.method, tc.uri, headers...)
			left := w.records()
			told := w.authorize(tc.from, tc.method, tc.uri, headers...)
			status := told.StatusCode
			if status == 403 {
				_, _ = fmt.Sscan(told.Header.Get("X-Refused-With"), &status)
			}
			if would := itself.StatusCode; status != tc.want || would != tc.want && (tc.want != 204 || would != 200 && would != 206) {
				t.Errorf("a proxy is told %d and %q, the request itself %d, want %d", told.StatusCode, told.Header.Get("X-Refused-With"), would, tc.want)
			}
			if got := w.records(); fmt.Sprint(got) != fmt.Sprint(left) {
				t.Errorf("recorded is %v, of the request itself %v", got, left)
			}
			if tc.want != 204 {
				if told.Header.Get("X-Media-Proof") != "" {
					t.Error("a proof of a refusal")
				}
				return
			}
			if told.Header.Get("ETag") != itself.Header.Get("ETag") || told.Header.Get("Cache-Control") != itself.Header.Get("Cache-Control") {
				t.Errorf("told %v, itself %v", told.Header, itself.Header)
			}
		})
	}
}

func TestRefusalsToProxiesAreOfThreeKinds(t *testing.T) {
	w := newStrictWorld(t)
	segment := w.linkAs(owner, "hls/240p_000.ts", "").URL
	ask := func(name, method, uri string, status int, with string) {
		t.Helper()
		resp := w.authorize(home, method, uri)
		if got := resp.Header.Get("X-Refused-With"); resp.StatusCode != status || got != with {
			t.Errorf("%s: %d %q, want %d %q", name, resp.StatusCode, got, status, with)
		}
	}
	ask("a segment", "GET", segment, 204, "")
	ask("another method", "POST", segment, 403, "404")
	ask("no method", "", segment, 403, "404")
	ask("no address", "GET", "", 403, "404")
	for _, path := range []string{"hls/master.m3u8", "hls/240p.m3u8", "storyboard.vtt", "metadata", "renditions"} {
		ask(path, "GET", w.linkAs(owner, path, "").URL, 403, "404")
	}
	w.strict.revoked.Store("key-dr-no")
	ask("a revoked key", "GET", segment, 401, "")
	w.strict.revoked.Store("")
	w.audited.down = true
	ask("no record", "GET", segment, 403, "503")
	w.audited.down = false
	if err := os.Rename(w.folder, w.folder+".deleted"); err != nil {
		t.Fatal(err)
	}
	ask("a deleted video", "GET", segment, 403, "404")
}

// Which ranges a proxy may answer with its own words, of a file of 1000 bytes.
func TestPlainRanges(t *testing.T) {
	w := newWorld(t)
	for rng, plain := range map[string]bool{
		"": true, "bytes=0-": true, "bytes=0-0": true, "bytes=999-": true, "bytes=10-19": true, "bytes=0-99999": true,
		"bytes=1000-": false, "bytes=19-10": false, "bytes=-5": false, "bytes=0-1,5-6": false, "bytes=x": false, "lines=1-2": false, "bytes=+1-2": false,
		"bytes=99999999999999999999-": false, "bytes": false,
	} {
		resp := w.authorize(home, "GET", w.link("original.mp4"), "Range", rng)
		if got := resp.Header.Get("X-Media-Range") == "plain"; resp.StatusCode != 204 || got != plain || resp.Header.Get("X-Media-Length") != "1000" {
			t.Errorf("%q: %s, plain %t, length %q", rng, resp.Status, got, resp.Header.Get("X-Media-Length"))
		}
	}
}

// With its proof a proxy gets the bytes of that file, whole or a part, for some seconds, and they are on record once.
func TestProofs(t *testing.T) {
	w := newStrictWorld(t)
	link := w.linkAs(owner, "original.mp4", "").URL
	plain, _, _ := strings.Cut(link, "?")
	proof := w.authorize(home, "GET", link).Header.Get("X-Media-Proof")
	w.records()
	for target, headers := range map[string][]string{plain: {}, link: {"Range", "bytes=10-19"}} {
		resp, body := w.get("GET", target, append(headers, "X-Media-Proof", proof)...)
		if want := map[int]string{200: w.original, 206: w.original[10:20]}[resp.StatusCode]; body != want || body == "" || resp.Header.Get("ETag") == "" {
			t.Errorf("%s %v: %s %q", target, headers, resp.Status, body)
		}
	}
	if told := w.records(); len(told) > 0 {
		t.Errorf("what a proxy fetches is recorded: %v", told)
	}
	other := "/media/videos/" + string(w.id) + "/hls/240p_000.ts"
	ended := w.proofs.Sign("", string(w.id), "original.mp4", time.Now().Add(-time.Second))
	link, _, _ = strings.Cut(link, "&")
	_, tok, _ := strings.Cut(link, "token=")
	for name, tc := range map[string]struct{ target, proof, reason string }{
		"another file": {other, proof, "proof_not_genuine"}, "ended": {link, ended, "proof_ended"}, "made up": {link, "1." + strings.Repeat("0", 64), "proof_not_genuine"},
		"a link's token": {plain, w.signer.Sign("", string(w.id), "original.mp4", time.Now().Add(time.Minute)), "proof_not_genuine"}, "this link's": {link, tok, "proof_not_genuine"},
	} {
		if resp, body := w.get("GET", tc.target, "X-Media-Proof", tc.proof); resp.StatusCode != 401 || !strings.Contains(body, `"invalid_token"`) {
			t.Errorf("%s: %s %s", name, resp.Status, body)
		}
		w.wantDenied(tc.reason)
	}
	if resp, _ := w.get("GET", plain+"?token="+proof); resp.StatusCode != 401 {
		t.Errorf("a proof as a link's token: %s", resp.Status)
	}
	if err := os.Remove(filepath.Join(w.folder, "meta.json")); err != nil {
		t.Fatal(err)
	}
	if resp, _ := w.get("GET", plain, "X-Media-Proof", proof); resp.StatusCode != 404 {
		t.Errorf("a proof of what is deleted: %s", resp.Status)
	}
}

// Who is no trusted proxy hears nothing, and a proof of theirs counts for nothing.
func TestOnlyTrustedProxiesAreAnswered(t *testing.T) {
	w := newStrictWorld(t)
	link := w.linkAs(owner, "original.mp4", "").URL
	proof := w.authorize(home, "GET", link).Header.Get("X-Media-Proof")
	w.proxies, w.strict.metrics = "192.0.2.0/24", prometheus.NewRegistry()
	w.serve(&media.Dir{Videos: filepath.Dir(w.folder)}, nil, 0)
	w.records()
	if resp := w.authorize(home, "GET", link); resp.StatusCode != 404 || resp.Header.Get("X-Media-Proof") != "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	if told := w.records(); len(told) > 0 {
		t.Errorf("a question that is not answered is recorded: %v", told)
	}
	plain, _, _ := strings.Cut(link, "?")
	if resp, _ := w.get("GET", plain, "X-Media-Proof", proof); resp.StatusCode != 401 {
		t.Errorf("a proof without a link: %s", resp.Status)
	}
	w.records()
	if resp, _ := w.get("GET", link, "X-Media-Proof", proof); resp.StatusCode != 200 || len(w.records()) != 1 {
		t.Errorf("a link beside a proof that does not count: %s", resp.Status)
	}
}
