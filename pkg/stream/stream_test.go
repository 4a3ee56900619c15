package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

const secret = "0123456789abcdef0123456789abcdef"

// world serves one video, whose original has 1000 bytes.
type world struct {
	t        testing.TB
	url      string
	id       vault.VideoID
	original string
	signer   *token.Signer
	proofs   *token.Signer
	videos   *metadata.Store
	audited  *auditor
	folder   string
	proxies  string  // who are trusted proxies: as a prefix
	strict   *strict // nil where nobody is asked who they are
}

// auditor keeps what is recorded, each category apart: accesses in events.
type auditor struct {
	mu        sync.Mutex
	events    []audit.Event
	emergency []audit.Event // on disk when the request is answered
	denied    []audit.Event
	down      bool
}

func (a *auditor) Note(_ context.Context, c audit.Category, e audit.Event) error {
	if c != audit.Access {
		return fmt.Errorf("%s is noted in %s", e.Action, c)
	}
	return a.add(&a.events, e)
}

func (a *auditor) Append(_ context.Context, c audit.Category, e audit.Event) error {
	if c != audit.Emergency {
		return fmt.Errorf("%s is appended to %s", e.Action, c)
	}
	return a.add(&a.emergency, e)
}

func (a *auditor) Denied(_ context.Context, e audit.Event) { _ = a.add(&a.denied, e) }

func (a *auditor) add(to *[]audit.Event, e audit.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down {
		return fmt.Errorf("the disk is full")
	}
	*to = append(*to, e)
	return nil
}

// paths are those of all accesses.
func (a *auditor) paths() (paths []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		paths = append(paths, e.Path)
	}
	return paths
}

type noCache struct{}

func (noCache) Get(context.Context, vault.VideoID) ([]byte, bool) { return nil, false }
func (noCache) Put(context.Context, vault.VideoID, []byte)        {}
func (noCache) Drop(context.Context, vault.VideoID) error         { return nil }

type halfway struct{}

func (halfway) Progress(context.Context, vault.VideoID) (float64, bool) { return 0.5, true }

func newWorld(t testing.TB) *world {
	t.Helper()
	root := t.TempDir()
	dir := &media.Dir{Videos: filepath.Join(root, "videos"), Pending: filepath.Join(root, "pending")}
	w := &world{t: t, id: vault.NewVideoID(), audited: &auditor{}, proxies: "127.0.0.1/32"}
	w.folder = filepath.Join(dir.Videos, string(w.id))
	for i := range 1000 {
		w.original += string(rune('a' + i%26))
	}
	for name, content := range map[string]string{
		"original.mp4": w.original, ".work-1/240p.m3u8": "#EXTM3U", "hls/.hidden": "x",
		"hls/master.m3u8": "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=426x240\n240p.m3u8\n",
		"hls/240p.m3u8":   "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:6,\n240p_000.ts\n#EXTINF:4,\n240p_001.ts\n#EXT-X-ENDLIST\n",
		"hls/240p_000.ts": "segment",
	} {
		path := filepath.Join(w.folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	w.videos = &metadata.Store{Media: dir, Cache: noCache{}, Now: time.Now}
	_, err := w.videos.Create(t.Context(), vault.Video{VideoID: w.id, Filename: "x.webm", ContentType: "video/webm", UserID: "dr-no", UploadedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	w.signer, err = token.New(secret, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.proofs, err = token.New(token.Derive(secret, stream.ProofUse), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(dir, nil, 0)
	return w
}

func (w *world) serve(store media.Store, links media.Linker, maxDirect int64) {
	log := slog.New(slog.DiscardHandler)
	s := &stream.Streamer{
		Signer: w.signer, Proofs: w.proofs, Media: store, Links: links, MaxDirect: maxDirect, Videos: w.videos, Progress: halfway{}, Audit: w.audited,
		Expiry: 300 * time.Second, MaxExpiry: 86400 * time.Second, PublicPath: "/stage", Log: log, Open: w.strict == nil, Denials: w.audited,
	}
	w.strict.set(s)
	mux := http.NewServeMux()
	mux.Handle("/media/sign", web.Methods{"POST": web.Handler(s.ServeSign)})
	mux.Handle("/media/videos/{id}/{path...}", web.Methods{"GET": web.Handler(s.ServeMedia), "HEAD": web.Handler(s.ServeMedia)})
	mux.Handle("/internal/media/authorize", web.Methods{"GET": web.Handler(s.ServeAuthorize)})
	observer := &web.Observer{Log: log, TrustedProxies: []netip.Prefix{netip.MustParsePrefix(w.proxies)}, Metrics: web.NewMetrics(prometheus.NewRegistry())}
	server := httptest.NewServer(observer.Wrap(callers(mux)))
	w.t.Cleanup(server.Close)
	w.url = server.URL
}

func (w *world) link(path string) string {
	return "/media/videos/" + string(w.id) + "/" + path + "?token=" + w.signer.Sign("", string(w.id), path, time.Now().Add(time.Minute))
}

// get returns the answer to a request with headers given in pairs, and its body.
func (w *world) get(method, target string, headers ...string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+target, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.send(r)
}

func (w *world) send(r *http.Request) (*http.Response, string) {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

func (w *world) sign(body string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest("POST", w.url+"/media/sign", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = "evil.example"
	return w.send(r)
}

func TestSignedLinkPlays(t *testing.T) {
	w := newWorld(t)
	resp, body := w.sign(fmt.Sprintf(`{"videoId":%q,"path":"hls/240p_000.ts","expiresIn":60}`, w.id))
	var a struct {
		URL, Token, ExpiresAt string
		ExpiresIn             int
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	until, err := time.Parse(time.RFC3339, a.ExpiresAt)
	if err != nil || time.Until(until) > time.Minute || time.Until(until) < 50*time.Second || a.ExpiresIn != 60 {
		t.Errorf("expires %s, %d", a.ExpiresAt, a.ExpiresIn)
	}
	path, ok := strings.CutPrefix(a.URL, "/stage")
	if !ok || strings.Contains(body, "evil") || !strings.HasSuffix(a.URL, a.Token) {
		t.Errorf("url %s", a.URL)
	}
	if resp, body := w.get("GET", path); resp.StatusCode != 200 || body != "segment" || resp.Header.Get("Content-Type") != "video/mp2t" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if len(w.audited.events) != 2 || w.audited.events[0].Action != "media.signed" || w.audited.events[1].Action != "media.accessed" {
		t.Errorf("audited %+v", w.audited.events)
	}
}

func TestSignRefuses(t *testing.T) {
	w := newWorld(t)
	good := func(change string) string {
		body := map[string]json.RawMessage{"videoId": json.RawMessage(`"` + w.id + `"`), "path": json.RawMessage(`"hls/master.m3u8"`)}
		var changes map[string]json.RawMessage
		if err := json.Unmarshal([]byte(change), &changes); err != nil {
			t.Fatal(err)
		}
		for k, v := range changes {
			body[k] = v
		}
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for body, status := range map[string]int{
		good(`{}`): 200, good(`{"expiresIn":1}`): 200, good(`{"expiresIn":86400}`): 200, good(`{"videoId":"any_id-9"}`): 200,
		good(`{"expiresIn":-1}`): 400, good(`{"expiresIn":0}`): 400, good(`{"expiresIn":0.5}`): 400, good(`{"expiresIn":1e12}`): 400,
		good(`{"expiresIn":1e300}`): 400, good(`{"expiresIn":"abc"}`): 400, good(`{"expiresIn":"60"}`): 400, good(`{"expiresIn":true}`): 400,
		good(`{"expiresIn":86401}`): 400, good(`{"expiresIn":[]}`): 400,
		good(`{"path":""}`): 400, good(`{"path":"../.."}`): 400, good(`{"path":"/etc/hostname"}`): 400, good(`{"path":".hidden"}`): 400,
		good(`{"path":"meta.json"}`): 400, good(`{"path":"hls/../meta.json"}`): 400, good(`{"path":"hls/.hidden"}`): 400,
		good(`{"path":"hls//x"}`): 400, good(`{"path":"hls/"}`): 400, good(`{"path":"hls\\x"}`): 400, good(`{"path":"a b"}`): 400,
		good(`{"path":"hls/%2e%2e"}`): 400, good(`{"path":"./x"}`): 400, good(`{"path":"x?y"}`): 400, good(`{"path":5}`): 400,
		good(`{"videoId":".."}`): 400, good(`{"videoId":""}`): 400, good(`{"videoId":"a/b"}`): 400, good(`{"videoId":"` + strings.Repeat("a", 65) + `"}`): 400,
		good(`{"more":1}`): 400, `not json`: 400, `[]`: 400, ``: 400, good(`{}`) + `{}`: 400,
		`{"videoId":"` + strings.Repeat("a", 10<<20) + `"}`: 413,
	} {
		if resp, answer := w.sign(body); resp.StatusCode != status {
			t.Errorf("%.100s: %d, want %d: %s", body, resp.StatusCode, status, answer)
		} else if status != 200 && (!strings.HasPrefix(answer, `{"error":{"code":"`) || resp.Header.Get("Content-Type") != "application/json") {
			t.Errorf("%.100s: not an error of ours: %s", body, answer)
		}
	}
}

func TestTokenIsWanted(t *testing.T) {
	w := newWorld(t)
	link := w.link("hls/240p_000.ts")
	plain, tok, _ := strings.Cut(link, "?token=")
	expired := w.signer.Sign("", string(w.id), "hls/240p_000.ts", time.Now().Add(-time.Second))
	unix, signature, _ := strings.Cut(tok, ".")
	for name, target := range map[string]string{
		"missing": plain, "empty": plain + "?token=", "twice": link + "&token=" + tok, "for another path": strings.Replace(link, "_000", "_001", 1),
		"for another video": strings.Replace(link, string(w.id), string(vault.NewVideoID()), 1), "expired": plain + "?token=" + expired,
		"suffix": link + "0", ".x appended": link + ".x", "upper-case hex": plain + "?token=" + unix + "." + strings.ToUpper(signature),
		"in another parameter": plain + "?Token=" + tok, "broken query": link + "&a;b", "no video": "/media/videos/x/y", "record": "/media/videos/" + string(w.id) + "/meta.json",
	} {
		resp, body := w.get("GET", target)
		if resp.StatusCode != 401 || !strings.Contains(body, `"invalid_token"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	if len(w.audited.events) != 0 {
		t.Errorf("refused, but audited as accesses: %v", w.audited.events)
	}
}

// A signature over a path does not make it media.
func TestSignedNonsenseIsNotFound(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"meta.json", "hls/.hidden", ".work-1/240p.m3u8", "hls", "hls/none.ts", "original.mp4/x", "hls/none.m3u8", "metadata/x"} {
		if resp, body := w.get("GET", w.link(path)); resp.StatusCode != 404 {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"../x", "hls//master.m3u8", "hls/%6daster.m3u8", "hls/..%2fmeta.json"} {
		if resp, _ := w.get("GET", "/media/videos/"+string(w.id)+"/"+path); resp.StatusCode != 404 {
			t.Errorf("%s: %d, want 404 before routing", path, resp.StatusCode)
		}
	}
}

func TestRangesAndConditions(t *testing.T) {
	w := newWorld(t)
	link := w.link("original.mp4")
	first, _ := w.get("GET", link)
	etag, modified := first.Header.Get("ETag"), first.Header.Get("Last-Modified")
	o := w.original
	for _, tc := range []struct {
		headers []string
		status  int
		body    string // of 200 and 206
		rng     string // Content-Range
	}{
		{nil, 200, o, ""},
		{[]string{"Range", "bytes=-500"}, 206, o[500:], "bytes 500-999/1000"},
		{[]string{"Range", "bytes=0-0"}, 206, o[:1], "bytes 0-0/1000"},
		{[]string{"Range", "bytes=100-"}, 206, o[100:], "bytes 100-999/1000"},
		{[]string{"Range", "bytes=0-999999999"}, 206, o, "bytes 0-999/1000"},
		{[]string{"Range", "BYTES=0-4"}, 206, o[:5], "bytes 0-4/1000"},
		{[]string{"Range", "bytes=1000-"}, 416, "", "bytes */1000"},
		{[]string{"Range", "bytes=-0"}, 416, "", "bytes */1000"},
		{[]string{"Range", "bytes=5-2"}, 416, "", "bytes */1000"}, // invalid: may be refused (RFC 9110, 14.2)
		{[]string{"Range", "bytes=abc"}, 416, "", "bytes */1000"},
		{[]string{"Range", "bytes=+1-2"}, 416, "", "bytes */1000"},
		{[]string{"Range", "bytes=1-18446744073709551616"}, 206, o[1:], "bytes 1-999/1000"}, // more than 64 bits (14.1.1)
		{[]string{"Range", "bytes=-18446744073709551616"}, 206, o, "bytes 0-999/1000"},
		{[]string{"Range", "bytes=18446744073709551616-"}, 416, "", "bytes */1000"},
		{[]string{"Range", "abc"}, 200, o, ""}, // no range unit that we know: must be ignored
		{[]string{"Range", "items=0-4"}, 200, o, ""},
		{[]string{"If-None-Match", etag}, 304, "", ""},
		{[]string{"If-None-Match", `"other"`}, 200, o, ""},
		{[]string{"If-None-Match", "*"}, 304, "", ""},
		{[]string{"If-Match", `"other"`}, 412, "", ""},
		{[]string{"If-Modified-Since", modified}, 304, "", ""},
		{[]string{"Range", "bytes=0-4", "If-Range", etag}, 206, o[:5], "bytes 0-4/1000"},
		{[]string{"Range", "bytes=0-4", "If-Range", `"other"`}, 200, o, ""},
	} {
		resp, body := w.get("GET", link, tc.headers...)
		if resp.StatusCode != tc.status || (tc.status < 300 && body != tc.body) || (tc.rng != "" && resp.Header.Get("Content-Range") != tc.rng) {
			t.Errorf("%v: %d, %d bytes, Content-Range %q; want %d, %d bytes, %q", tc.headers, resp.StatusCode, len(body), resp.Header.Get("Content-Range"), tc.status, len(tc.body), tc.rng)
		}
		if tc.status == 416 && !strings.HasPrefix(body, `{"error":{"code":"range_not_satisfiable"`) {
			t.Errorf("%v: %s", tc.headers, body)
		}
		if tc.status == 412 && (!strings.HasPrefix(body, `{"error":{"code":"precondition_failed"`) || resp.Header.Get("Cache-Control") != "no-store") {
			t.Errorf("%v: %s, to be kept as %s", tc.headers, body, resp.Header.Get("Cache-Control"))
		}
		head, body := w.get("HEAD", link, tc.headers...)
		if head.StatusCode != tc.status || body != "" {
			t.Errorf("HEAD %v: %d %q", tc.headers, head.StatusCode, body)
		}
	}
	resp, body := w.get("GET", link, "Range", "bytes=0-1,10-20")
	if resp.StatusCode != 206 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges") || !strings.Contains(body, "\r\n\r\n"+o[10:21]+"\r\n") {
		t.Errorf("two ranges: %d %v", resp.StatusCode, resp.Header)
	}
}

func TestOriginalHasItsOwnType(t *testing.T) {
	w := newWorld(t)
	resp, _ := w.get("GET", w.link("original.mp4"))
	if got := resp.Header.Get("Content-Type"); got != "video/webm" {
		t.Errorf("Content-Type %q", got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "private, max-age=86400, immutable" {
		t.Errorf("Cache-Control %q", got)
	}
}

// Whoever may open the master playlist gets to every segment, for as long as the video plays.
func TestPlaylistsAreSignedOnTheWayOut(t *testing.T) {
	w := newWorld(t)
	for _, next := range []vault.Status{vault.Transcoding, vault.Transcoded} {
		if _, err := w.videos.Update(t.Context(), w.id, func(v *vault.Video) error { v.Status, v.Duration = next, 7200; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	base := "/media/videos/" + string(w.id) + "/hls/"
	resp, master := w.get("GET", w.link("hls/master.m3u8"))
	if resp.Header.Get("Content-Type") != "application/vnd.apple.mpegurl" || resp.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("headers %v", resp.Header)
	}
	variant := lastURI(master)
	if !strings.HasPrefix(variant, "240p.m3u8?token=") {
		t.Fatalf("variant %q in %s", variant, master)
	}
	_, playlist := w.get("GET", base+variant)
	segment := strings.Split(playlist, "\n")[7]
	if !strings.HasPrefix(segment, "240p_000.ts?token=") || !strings.Contains(playlist, "#EXT-X-ENDLIST") {
		t.Fatalf("segment %q in %s", segment, playlist)
	}
	var unix int64
	if _, err := fmt.Sscanf(segment, "240p_000.ts?token=%d.", &unix); err != nil || time.Until(time.Unix(unix, 0)) < 2*time.Hour {
		t.Errorf("the segment's token ends in %v, before the video does (%v)", time.Until(time.Unix(unix, 0)), err)
	}
	if resp, body := w.get("GET", base+segment); resp.StatusCode != 200 || body != "segment" {
		t.Errorf("segment: %d %q", resp.StatusCode, body)
	}
}

func lastURI(playlist string) string {
	lines := strings.Split(strings.TrimSpace(playlist), "\n")
	return lines[len(lines)-1]
}

func TestMetadataAndRenditions(t *testing.T) {
	w := newWorld(t)
	_, body := w.get("GET", w.link("metadata"))
	if !strings.Contains(body, `"status":"uploaded"`) || strings.Contains(body, "dr-no") {
		t.Errorf("metadata %s", body)
	}
	for _, step := range []struct {
		next vault.Status
		want string
	}{
		{vault.Uploaded, `"status":"pending","progress":0`}, {vault.Transcoding, `"status":"processing","progress":0.5`},
		{vault.TranscodeFailed, `"status":"failed"`}, {vault.Transcoding, `"processing"`}, {vault.Transcoded, `"status":"ready","progress":1,"masterPlaylist":"hls/master.m3u8"`},
	} {
		if _, err := w.videos.Update(t.Context(), w.id, func(v *vault.Video) error { v.Status = step.next; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, body := w.get("GET", w.link("renditions")); !strings.Contains(body, step.want) {
			t.Errorf("%s: %s", step.next, body)
		}
	}
	_, body = w.get("GET", w.link("renditions"))
	if want := `{"name":"240p","playlist":"hls/240p.m3u8","width":426,"height":240,"bandwidth":500000,"codecs":["avc1.64001f","mp4a.40.2"]}`; !strings.Contains(body, want) {
		t.Errorf("renditions %s", body)
	}
}

func TestNothingIsServedThatCannotBeAudited(t *testing.T) {
	w := newWorld(t)
	w.audited.down = true
	for _, path := range []string{"original.mp4", "hls/master.m3u8", "metadata", "renditions"} {
		if resp, body := w.get("GET", w.link(path)); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || strings.Contains(body, "disk") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}
