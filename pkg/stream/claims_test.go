package stream_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
)

// strict is what a world has in which callers are asked who they are.
type strict struct {
	revoked atomic.Value // the id of a key
	metrics *prometheus.Registry
}

func (s *strict) Revoked(keyID string) bool { return s.revoked.Load() == keyID }

func (s *strict) set(to *stream.Streamer) {
	if s != nil {
		to.Keys, to.Metrics = s, stream.NewMetrics(s.metrics)
	}
}

// callers lets a request say who makes it, as "ann uploader viewer" in the header X-Caller.
func callers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if words := strings.Fields(r.Header.Get("X-Caller")); len(words) > 0 {
			c := auth.Caller{Name: words[0], KeyID: "key-" + words[0]}
			for _, role := range words[1:] {
				c.Roles = append(c.Roles, auth.Role(role))
			}
			r = r.WithContext(auth.With(r.Context(), c))
		}
		h.ServeHTTP(w, r)
	})
}

// newStrictWorld is a world whose video belongs to dr-no.
func newStrictWorld(t testing.TB) *world {
	w := newWorld(t)
	w.strict = &strict{metrics: prometheus.NewRegistry()}
	w.serve(&media.Dir{Videos: filepath.Dir(w.folder)}, nil, 0)
	return w
}

const (
	owner    = "dr-no uploader"
	stranger = "bob uploader"
	home     = "198.51.100.7"
)

type signed struct {
	URL, Token string
	ExpiresIn  int64
	ExpiresAt  time.Time
}

// signAs asks for a link, from home. more are further members of the request.
func (w *world) signAs(caller, id, path, more string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), "POST", w.url+"/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":%q,"path":%q%s}`, id, path, more)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-Caller", caller)
	r.Header.Set("X-Forwarded-For", home)
	resp, body := w.send(r)
	return resp.StatusCode, body
}

// linkAs is a link that must be given.
func (w *world) linkAs(caller, path, more string) signed {
	w.t.Helper()
	var s signed
	status, body := w.signAs(caller, string(w.id), path, more)
	if err := json.Unmarshal([]byte(body), &s); err != nil || status != 200 {
		w.t.Fatalf("%s: %d %s", caller, status, body)
	}
	s.URL = strings.TrimPrefix(s.URL, "/stage")
	return s
}

// from asks for media from an address.
func (w *world) from(address, target string) (int, string) {
	w.t.Helper()
	resp, body := w.get("GET", target, "X-Forwarded-For", address)
	return resp.StatusCode, body
}

var requestID = regexp.MustCompile(`"requestId":"[^"]*"`)

func (w *world) wantDenied(reasons ...string) {
	w.t.Helper()
	w.audited.mu.Lock()
	defer w.audited.mu.Unlock()
	var got []string
	for _, e := range w.audited.denied {
		got = append(got, fmt.Sprint(e.Details["reason"]))
	}
	if strings.Join(got, " ") != strings.Join(reasons, " ") {
		w.t.Errorf("denied for %v, want %v", got, reasons)
	}
	w.audited.denied = nil
}

func TestLinksSayWhoSignedThem(t *testing.T) {
	w := newStrictWorld(t)
	link := w.linkAs("ann viewer", "hls/240p_000.ts", "")
	g, err := w.signer.Verify(link.Token, string(w.id), "hls/240p_000.ts")
	if want := (token.Claims{KeyID: "key-ann", User: "ann"}); err != nil || g.Claims != want {
		t.Errorf("%+v, %v", g.Claims, err)
	}
	if status, body := w.from(home, link.URL); status != 200 || body != "segment" {
		t.Errorf("%d %s", status, body)
	}
	events := w.audited.events
	if len(events) != 2 || events[0].Action != "media.signed" || events[1].Action != "media.accessed" {
		t.Fatalf("audited %+v", events)
	}
	for _, e := range events {
		if e.UserID != "ann" || e.Details["keyId"] != "key-ann" || e.Address != home {
			t.Errorf("%s is recorded as %+v", e.Action, e)
		}
	}
	w.wantDenied()
}

// Who may not play a video is told what who asks for none is told, whatever else the request wants.
func TestSignAsksThePolicy(t *testing.T) {
	w := newStrictWorld(t)
	none := string(vault.NewVideoID())
	for caller, want := range map[string]int{
		owner: 200, stranger: 404, "ann viewer": 200, "portal service": 200, "root admin": 200, "bob": 404, "": 404, "dr-no": 404, "DR-NO uploader": 404,
		"bob uploader viewer": 200,
	} {
		for _, more := range []string{"", `,"bind":"ip"`} {
			status, body := w.signAs(caller, string(w.id), "hls/master.m3u8", more)
			if status != want {
				t.Errorf("%q%s: %d %s, want %d", caller, more, status, body, want)
			}
			if want == 200 {
				w.wantDenied()
				continue
			}
			w.wantDenied("not_yours")
			missing, other := w.signAs(caller, none, "hls/master.m3u8", more)
			if missing != status || requestID.ReplaceAllString(other, "") != requestID.ReplaceAllString(body, "") {
				t.Errorf("%q is told %d %s of another's video, and %d %s of none", caller, status, body, missing, other)
			}
			w.wantDenied("not_there")
		}
	}
	if status, body := w.signAs("root admin", none, "hls/master.m3u8", ""); status != 404 {
		t.Errorf("a link to nothing: %d %s", status, body)
	}
	if status, _ := w.signAs(owner, "any_id-9", "hls/master.m3u8", ""); status != 400 {
		t.Errorf("no id: %d", status)
	}
}

// A link of the one form is nothing where links have the other.
func TestFormsOfTheOtherModeAreRefused(t *testing.T) {
	closed, open := newStrictWorld(t), newWorld(t)
	if status, body := closed.from(home, closed.link("original.mp4")); status != 401 || !strings.Contains(body, `"invalid_token"`) {
		t.Errorf("a link without a signer: %d %s", status, body)
	}
	closed.wantDenied("no_signer")
	sealed, err := token.Claims{User: "ann"}.Seal()
	if err != nil {
		t.Fatal(err)
	}
	plain, _, _ := strings.Cut(open.link("original.mp4"), "?")
	tok := open.signer.Sign(sealed, string(open.id), "original.mp4", time.Now().Add(time.Minute))
	if status, body := open.from(home, plain+"?token="+tok); status != 401 || !strings.Contains(body, `"invalid_token"`) {
		t.Errorf("a signer whom nobody can check: %d %s", status, body)
	}
	open.wantDenied("signer_unchecked")
	for _, more := range []string{`,"bind":"ip"`, `,"emergency":{"reason":"the patient is in surgery"}`} {
		if status, body := open.signAs("", string(open.id), "original.mp4", more); status != 400 || !strings.Contains(body, `"authentication_off"`) {
			t.Errorf("%s: %d %s", more, status, body)
		}
	}
}

// A bound link, and whatever it leads to, is good from one address.
func TestBoundLinks(t *testing.T) {
	w := newStrictWorld(t)
	w.draw()
	for _, start := range []string{"hls/master.m3u8", "storyboard.vtt"} {
		link := w.linkAs(owner, start, `,"bind":"ip"`)
		targets := []string{link.URL}
		folder := link.URL[:strings.LastIndexByte(link.URL, '/')+1]
		if start == "hls/master.m3u8" {
			_, master := w.from(home, link.URL)
			variant := folder + lastURI(master)
			_, list := w.from(home, variant)
			targets = append(targets, variant, folder+strings.Split(list, "\n")[7])
		} else {
			_, text := w.from(home, link.URL)
			targets = append(targets, folder+strings.Split(strings.Split(text, "\n")[3], "#")[0])
		}
		for _, target := range targets {
			if status, body := w.from(home, target); status != 200 {
				t.Errorf("%s from home: %d %s", target, status, body)
			}
			status, body := w.from("198.51.100.8", target)
			bad, other := w.from(home, target+"x")
			if status != 401 || bad != 401 || requestID.ReplaceAllString(body, "") != requestID.ReplaceAllString(other, "") {
				t.Errorf("%s from elsewhere: %d %s; a wrong token: %d %s", target, status, body, bad, other)
			}
			w.wantDenied("bound_elsewhere", "not_genuine")
		}
	}
	for _, e := range w.audited.events {
		if details := fmt.Sprint(e.Details); strings.Contains(details, home) || !strings.Contains(details, "bind:ip") {
			t.Errorf("%s: an address stands where none is anonymised, or nothing is said of it: %s", e.Action, details)
		}
	}
	if status, _ := w.signAs(owner, string(w.id), "original.mp4", `,"bind":"city"`); status != 400 {
		t.Errorf("bound to a city: %d", status)
	}
}

// Revoking a key ends its links, and what they lead to, at once.
func TestRevokedKeysLinksEnd(t *testing.T) {
	w := newStrictWorld(t)
	link, others := w.linkAs(owner, "hls/master.m3u8", ""), w.linkAs("ann viewer", "hls/master.m3u8", "")
	_, master := w.from(home, link.URL)
	variant := link.URL[:strings.LastIndexByte(link.URL, '/')+1] + lastURI(master)
	if status, _ := w.from(home, variant); status != 200 {
		t.Fatalf("%d", status)
	}
	w.strict.revoked.Store("key-dr-no")
	for _, target := range []string{link.URL, variant} {
		if status, body := w.from(home, target); status != 401 || !strings.Contains(body, `"invalid_token"`) {
			t.Errorf("%d %s", status, body)
		}
	}
	if e := w.audited.denied[0]; e.UserID != "dr-no" || e.Details["keyId"] != "key-dr-no" || e.VideoID != string(w.id) || e.Path != "hls/master.m3u8" {
		t.Errorf("recorded as %+v", e)
	}
	w.wantDenied("key_revoked", "key_revoked")
	if status, body := w.from(home, others.URL); status != 200 {
		t.Errorf("another's link: %d %s", status, body)
	}
}

func TestDenialsAreRecordedWithTheirReason(t *testing.T) {
	w := newStrictWorld(t)
	sealed, err := token.Claims{KeyID: "key-ann", User: "ann"}.Seal()
	if err != nil {
		t.Fatal(err)
	}
	folder := "/media/videos/" + string(w.id) + "/"
	expired := folder + "original.mp4?token=" + w.signer.Sign(sealed, string(w.id), "original.mp4", time.Now().Add(-time.Second))
	var first string
	for _, target := range []string{expired, folder + "original.mp4", folder + strings.Repeat("x", 5000), "/media/videos/nobody/x"} {
		status, body := w.from(home, target)
		body = requestID.ReplaceAllString(body, "")
		if first == "" {
			first = body
		}
		if status != 401 || body != first {
			t.Errorf("%.100s: %d %s, and before %s", target, status, body, first)
		}
	}
	if e := w.audited.denied[0]; e.UserID != "ann" || e.Action != "media.denied" || e.Address != home || e.Details["method"] != "GET" {
		t.Errorf("an expired link is recorded as %+v", e)
	}
	for _, e := range w.audited.denied[2:] {
		if e.Path != "" || e.VideoID != "" || e.UserID != "" {
			t.Errorf("what somebody made up is recorded: %+v", e)
		}
	}
	w.wantDenied("expired", "not_genuine", "not_genuine", "not_genuine")
	if len(w.audited.events) != 0 {
		t.Errorf("refused, but audited as accesses: %v", w.audited.events)
	}
}

// The links of a video that is deleted are dead at once: in a directory its folder is gone, elsewhere its record is before its
// files are.
func TestDeletedVideosLinksAreDead(t *testing.T) {
	for name, remove := range map[string]func(w *world) error{
		"folder": func(w *world) error { return os.Rename(w.folder, w.folder+".deleted") },
		"record": func(w *world) error { return os.Remove(filepath.Join(w.folder, "meta.json")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newStrictWorld(t)
			var links []string
			for _, path := range []string{"hls/240p_000.ts", "original.mp4", "hls/240p.m3u8", "metadata", "renditions"} {
				links = append(links, w.linkAs("ann viewer", path, "").URL)
			}
			for i, status := range []int{200, 404} {
				for _, link := range links {
					if got, body := w.from(home, link); got != status {
						t.Errorf("%s: %d %s, want %d", link, got, body, status)
					}
				}
				if i == 0 {
					if err := remove(w); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n := len(w.audited.paths()); n != 2*len(links) {
				t.Errorf("%d entries of %d links that were signed and used once", n, len(links))
			}
		})
	}
}

const surgery = `,"emergency":{"reason":"  Dr. Weiß operates on her now, and I have her chart  "}`

// An emergency opens another's video for a quarter of an hour, and nothing that is reached by it lasts longer.
func TestEmergency(t *testing.T) {
	w := newStrictWorld(t)
	if _, err := w.videos.Update(t.Context(), w.id, func(v *vault.Video) error { v.Duration = 7200; return nil }); err != nil {
		t.Fatal(err)
	}
	link := w.linkAs(stranger, "hls/master.m3u8", surgery)
	if left := time.Until(link.ExpiresAt); link.ExpiresIn != 900 || left > 15*time.Minute || left < 14*time.Minute {
		t.Errorf("lives %v, said to be %d s", left, link.ExpiresIn)
	}
	e := w.audited.emergency[0]
	if e.Action != "emergency.granted" || e.UserID != "bob" || e.VideoID != string(w.id) || e.Path != "hls/master.m3u8" || e.Address != home || e.ID == "" ||
		e.Details["reason"] != "Dr. Weiß operates on her now, and I have her chart" || e.Details["hadRight"] != false || e.Details["keyId"] != "key-bob" {
		t.Errorf("recorded as %+v", e)
	}
	folder := link.URL[:strings.LastIndexByte(link.URL, '/')+1]
	resp, master := w.get("GET", link.URL)
	_, list := w.from(home, folder+lastURI(master))
	segment := strings.Split(list, "\n")[7]
	uris := []string{lastURI(master), segment}
	for _, uri := range uris {
		name, tok, _ := strings.Cut(uri, "?token=")
		g, err := w.signer.Verify(tok, string(w.id), "hls/"+name)
		if err != nil || !g.ExpiresAt.Equal(link.ExpiresAt) || g.Claims.Emergency != e.ID || g.Claims.User != "bob" {
			t.Errorf("%s says %+v, %v", name, g, err)
		}
	}
	second, body := w.get("GET", folder+segment)
	if second.StatusCode != 200 || body != "segment" {
		t.Errorf("segment: %d %s", second.StatusCode, body)
	}
	for _, r := range []*http.Response{resp, second} {
		if got := r.Header.Get("Cache-Control"); got != "private, no-store" {
			t.Errorf("to be kept as %s", got)
		}
	}
	for _, use := range w.audited.events {
		if use.Action != "media.accessed" || use.UserID != "bob" || use.Details["emergency"] != e.ID {
			t.Errorf("a use is recorded as %+v", use)
		}
	}
	want := "# HELP pulsevault_emergency_access_total Links given in an emergency; pulsevault audit emergencies lists them.\n" +
		"# TYPE pulsevault_emergency_access_total counter\npulsevault_emergency_access_total 1\n"
	if err := testutil.GatherAndCompare(w.strict.metrics, strings.NewReader(want), "pulsevault_emergency_access_total"); err != nil {
		t.Error(err)
	}
}

func TestEmergencyRequests(t *testing.T) {
	w := newStrictWorld(t)
	reason := func(s string) string { return fmt.Sprintf(`,"emergency":{"reason":%q}`, s) }
	for more, want := range map[string]int{
		reason(strings.Repeat("ä", 10)): 200, reason(strings.Repeat("ä", 500)): 200, surgery + `,"expiresIn":60`: 60, surgery + `,"expiresIn":86400`: 900, surgery + `,"bind":"ip"`: 900,
		reason(strings.Repeat("ä", 9)): 400, reason(strings.Repeat("ä", 501)): 400, reason("          x          "): 400, reason("two\nlines of text"): 400,
		reason("a bell \a in the text"): 400, reason("turned \u202e around, it is"): 400, `,"emergency":{}`: 400, `,"emergency":{"reason":5}`: 400, `,"emergency":"the reason is this"`: 400,
		`,"emergency":{"reason":"long enough as it is","more":1}`: 400, `,"emergency":{"Reason":"long enough as it is"}`: 400, `,"emergency":true`: 400, surgery + `,"expiresIn":0`: 400,
		surgery + `,"expiresIn":86401`: 400,
	} {
		status, body := w.signAs(stranger, string(w.id), "original.mp4", more)
		if wantStatus := map[bool]int{true: 400, false: 200}[want == 400]; status != wantStatus {
			t.Errorf("%.80s: %d %s", more, status, body)
		}
		if want < 100 || want == 900 {
			if !strings.Contains(body, fmt.Sprintf(`"expiresIn":%d`, want)) {
				t.Errorf("%.80s: %s", more, body)
			}
		}
	}
	before := len(w.audited.emergency)
	for _, caller := range []string{"", "bob"} {
		if status, _ := w.signAs(caller, string(w.id), "original.mp4", surgery); status != 404 {
			t.Errorf("%q, who has no role: %d", caller, status)
		}
	}
	if status, _ := w.signAs(stranger, string(vault.NewVideoID()), "original.mp4", surgery); status != 404 {
		t.Errorf("no such video: %d", status)
	}
	w.wantDenied("not_yours", "not_yours", "not_there")
	w.audited.down = true
	if status, body := w.signAs(stranger, string(w.id), "original.mp4", surgery); status != 503 || strings.Contains(body, "token") {
		t.Errorf("it cannot be recorded: %d %s", status, body)
	}
	w.audited.down = false
	if len(w.audited.emergency) != before {
		t.Errorf("%d entries of links that were not given", len(w.audited.emergency)-before)
	}
	w.linkAs(owner, "original.mp4", surgery)
	if e := w.audited.emergency[before]; e.UserID != "dr-no" || e.Details["hadRight"] != true {
		t.Errorf("the owner's emergency is recorded as %+v", e)
	}
}

// Where the media are in a bucket, what a link with claims leads to is asked of us again, each time.
func TestBucketLinksWithClaimsStayWithUs(t *testing.T) {
	w := newBucketWorld(t, func(w *world) { w.strict = &strict{metrics: prometheus.NewRegistry()} })
	link := w.linkAs(owner, "hls/240p.m3u8", "")
	first, list := w.get("GET", link.URL)
	segment := link.URL[:strings.LastIndexByte(link.URL, '/')+1] + strings.Split(list, "\n")[7]
	if status, body := w.from(home, segment); status != 200 || body != "segment" {
		t.Errorf("%d %s", status, body)
	}
	if again, _ := w.get("GET", link.URL, "If-None-Match", first.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("asked again: %d", again.StatusCode)
	}
	http.DefaultClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() { http.DefaultClient.CheckRedirect = nil })
	resp, _ := w.get("GET", w.linkAs(owner, "original.mp4", `,"expiresIn":3600`).URL)
	location, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != 307 {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	var seconds int
	if _, err := fmt.Sscan(location.Query().Get("X-Amz-Expires"), &seconds); err != nil || seconds < 1 || seconds > 60 {
		t.Errorf("the link to the bucket lasts %d s, %v", seconds, err)
	}
	if fetch(t, w, location.String()) != w.original {
		t.Error("it leads to something else")
	}
	w.strict.revoked.Store("key-dr-no")
	if status, _ := w.from(home, segment); status != 401 {
		t.Errorf("revoked: %d", status)
	}
	if got := w.audited.events[2]; got.Path != "hls/240p_000.ts" || got.UserID != "dr-no" {
		t.Errorf("recorded as %+v", got)
	}
}
