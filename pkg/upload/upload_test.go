package upload_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/memorylocker"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

const maxSize = 10 << 30

type world struct {
	t        *testing.T
	url      string
	dir      *upload.Dir
	clock    *clock
	recorder *recorder
	room     *room
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// recorder is the audit log and the counter of a test.
type recorder struct {
	mu      sync.Mutex
	actions []string
	counted int
}

func (r *recorder) Append(_ context.Context, _ audit.Category, e audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.actions = append(r.actions, e.Action)
	return nil
}

func (r *recorder) CountUpload(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counted++
}

func newWorld(t *testing.T) *world { return newWorldIn(t, t.TempDir()) }

func newWorldIn(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Now()}, recorder: &recorder{}, room: &room{}}
	log := slog.New(slog.DiscardHandler)
	w.dir = &upload.Dir{Path: filepath.Join(dir, "uploads"), Expiry: time.Hour, Now: w.clock.Now, Log: log}
	if err := w.dir.Init(); err != nil {
		t.Fatal(err)
	}
	h, err := upload.NewHandler(upload.Config{
		Store: w.dir, Locker: memorylocker.New(), Audit: w.recorder, Counter: w.recorder, Now: w.clock.Now,
		Room: w.room, Metrics: upload.NewMetrics(prometheus.NewRegistry()), MaxSize: maxSize, PublicPath: "/stage", Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/uploads", h)
	mux.Handle("/uploads/{id}", h)
	mux.Handle("GET /uploads/status/{id}", web.Handler(h.Status))
	observer := &web.Observer{Log: log, Metrics: web.NewMetrics(prometheus.NewRegistry())}
	server := httptest.NewServer(observer.Wrap(as(mux)))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// as makes the caller of a request the uploader whom its header As names, or, if it names none, anybody.
func as(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := auth.Anybody
		if name := r.Header.Get("As"); name != "" {
			c = auth.Caller{Name: name, Roles: []auth.Role{auth.Uploader}}
		}
		h.ServeHTTP(w, r.WithContext(auth.With(r.Context(), c)))
	})
}

// do sends a tus request; headers are given as "Name: value".
func (w *world) do(method, target string, body io.Reader, headers ...string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequest(method, w.url+target, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		if value == "" {
			r.Header.Del(name)
			continue
		}
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (w *world) expect(resp *http.Response, status int) *http.Response {
	w.t.Helper()
	if resp.StatusCode != status {
		body, _ := io.ReadAll(resp.Body)
		w.t.Fatalf("%s %s: status %d, want %d: %s", resp.Request.Method, resp.Request.URL.Path, resp.StatusCode, status, body)
	}
	return resp
}

func (w *world) create(size int, headers ...string) vault.UploadID {
	w.t.Helper()
	resp := w.expect(w.do("POST", "/uploads", nil, append([]string{"Upload-Length: " + strconv.Itoa(size)}, headers...)...), 201)
	id, err := vault.ParseUploadID(path.Base(resp.Header.Get("Location")))
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *world) patch(id vault.UploadID, offset int, body io.Reader, headers ...string) *http.Response {
	w.t.Helper()
	return w.do("PATCH", "/uploads/"+string(id), body, append([]string{
		"Content-Type: application/offset+octet-stream", "Upload-Offset: " + strconv.Itoa(offset),
	}, headers...)...)
}

func (w *world) offset(id vault.UploadID) int {
	w.t.Helper()
	resp := w.expect(w.do("HEAD", "/uploads/"+string(id), nil), 200)
	n, err := strconv.Atoi(resp.Header.Get("Upload-Offset"))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// wantStored checks bytes, record and hash of a complete upload against what was sent.
func (w *world) wantStored(id vault.UploadID, sent []byte) {
	w.t.Helper()
	stored, err := os.ReadFile(w.dir.DataPath(id))
	if err != nil || !bytes.Equal(stored, sent) {
		w.t.Fatalf("the stored %d bytes are not the %d sent ones (%v)", len(stored), len(sent), err)
	}
	u, err := w.dir.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	sum, err := upload.Checksum(u)
	want := sha256.Sum256(sent)
	if err != nil || sum != hex.EncodeToString(want[:]) || !u.Complete() {
		w.t.Fatalf("record says complete=%v checksum=%s (%v), want %x", u.Complete(), sum, err, want)
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(b)
	return b
}

func TestUploadInPieces(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(3<<20 + 17)
	id := w.create(len(data), "Upload-Metadata: filename "+base64.StdEncoding.EncodeToString([]byte("gait.mp4")))
	for offset := 0; offset < len(data); {
		end := min(offset+1<<20, len(data))
		resp := w.expect(w.patch(id, offset, bytes.NewReader(data[offset:end])), 204)
		if got := resp.Header.Get("Upload-Offset"); got != strconv.Itoa(end) {
			t.Fatalf("Upload-Offset = %s, want %d", got, end)
		}
		if _, err := http.ParseTime(resp.Header.Get("Upload-Expires")); err != nil {
			t.Fatalf("Upload-Expires: %v", err)
		}
		offset = end
	}
	w.wantStored(id, data)
	head := w.expect(w.do("HEAD", "/uploads/"+string(id), nil), 200)
	if head.Header.Get("Upload-Metadata") == "" || head.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD lacks what tus wants: %v", head.Header)
	}
	w.expect(w.patch(id, len(data), nil), 204) // again, as a client does that missed the answer
	if w.recorder.counted != 1 || fmt.Sprint(w.recorder.actions) != "[upload.completed]" {
		t.Errorf("completed %d times, audited %v", w.recorder.counted, w.recorder.actions)
	}
}

func TestCreationWithUpload(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(100_000)
	resp := w.expect(w.do("POST", "/uploads", bytes.NewReader(data), "Upload-Length: 100000", "Content-Type: application/offset+octet-stream"), 201)
	if resp.Header.Get("Upload-Offset") != "100000" {
		t.Errorf("Upload-Offset = %q", resp.Header.Get("Upload-Offset"))
	}
	w.wantStored(vault.UploadID(path.Base(resp.Header.Get("Location"))), data)
}

func TestLocationIsAPathWhateverTheHost(t *testing.T) {
	w := newWorld(t)
	resp := w.expect(w.do("POST", "/uploads", nil, "Upload-Length: 5", "Host: evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https"), 201)
	location := resp.Header.Get("Location")
	if !strings.HasPrefix(location, "/stage/uploads/") || strings.Contains(fmt.Sprint(resp.Header), "evil") {
		t.Errorf("Location = %q", location)
	}
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	id := w.create(10)
	w.expect(w.patch(id, 0, strings.NewReader("1234")), 204)
	var got map[string]any
	resp := w.expect(w.do("GET", "/uploads/status/"+string(id), nil), 200)
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"uploadId": string(id), "size": 10.0, "offset": 4.0, "complete": false, "exists": true}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("status %v, want %v", got, want)
	}
	for _, unknown := range []string{"..%2F..%2Fetc%2Fpasswd", string(vault.NewUploadID()), "x", strings.ToUpper(string(id))} {
		w.expect(w.do("GET", "/uploads/status/"+unknown, nil), 404)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	id := string(w.create(10))
	offset := "Content-Type: application/offset+octet-stream"
	for name, tc := range map[string]struct {
		method, target, body string
		headers              []string
		status               int
	}{
		"10 TB":               {"POST", "/uploads", "", []string{"Upload-Length: 10995116277760"}, 413},
		"negative length":     {"POST", "/uploads", "", []string{"Upload-Length: -1"}, 400},
		"no length":           {"POST", "/uploads", "", nil, 400},
		"length no number":    {"POST", "/uploads", "", []string{"Upload-Length: ten"}, 400},
		"no tus version":      {"POST", "/uploads", "", []string{"Upload-Length: 1", "Tus-Resumable: "}, 412},
		"wrong content type":  {"PATCH", "/uploads/" + id, "x", []string{"Content-Type: text/plain", "Upload-Offset: 0"}, 415},
		"no content type":     {"PATCH", "/uploads/" + id, "x", []string{"Upload-Offset: 0"}, 415},
		"wrong offset":        {"PATCH", "/uploads/" + id, "x", []string{offset, "Upload-Offset: 3"}, 409},
		"negative offset":     {"PATCH", "/uploads/" + id, "x", []string{offset, "Upload-Offset: -3"}, 400},
		"no offset":           {"PATCH", "/uploads/" + id, "x", []string{offset}, 400},
		"more than the rest":  {"PATCH", "/uploads/" + id, "12345678901", []string{offset, "Upload-Offset: 0"}, 413},
		"unknown upload":      {"PATCH", "/uploads/" + string(vault.NewUploadID()), "x", []string{offset, "Upload-Offset: 0"}, 404},
		"id that is a path":   {"PATCH", "/uploads/..%2Fx", "x", []string{offset, "Upload-Offset: 0"}, 404},
		"upper-case id":       {"HEAD", "/uploads/" + strings.ToUpper(id), "", nil, 404},
		"download":            {"GET", "/uploads/" + id, "", nil, 405},
		"delete what is not":  {"DELETE", "/uploads/" + string(vault.NewUploadID()), "", nil, 404},
		"method not of tus":   {"PUT", "/uploads/" + id, "", nil, 405},
		"length with a sign":  {"POST", "/uploads", "", []string{"Upload-Length: +5"}, 400},
		"negative nothing":    {"POST", "/uploads", "", []string{"Upload-Length: -0"}, 400},
		"too many digits":     {"POST", "/uploads", "", []string{"Upload-Length: 9223372036854775808"}, 400},
		"two lengths":         {"POST", "/uploads", "", []string{"Upload-Length: 5", "Upload-Length: 6"}, 400},
		"longer than told":    {"POST", "/uploads", "123456", []string{offset, "Upload-Length: 5"}, 413},
		"offset with a sign":  {"PATCH", "/uploads/" + id, "x", []string{offset, "Upload-Offset: +0"}, 400},
		"two offsets":         {"PATCH", "/uploads/" + id, "x", []string{offset, "Upload-Offset: 0", "Upload-Offset: 1"}, 400},
		"nothing to override": {"POST", "/uploads/" + id, "", []string{"X-HTTP-Method-Override: GET"}, 405},
	} {
		t.Run(name, func(t *testing.T) {
			resp := w.expect(w.do(tc.method, tc.target, strings.NewReader(tc.body), tc.headers...), tc.status)
			if tc.method == "HEAD" {
				return
			}
			var e struct {
				Error struct{ Code, Message, RequestID string }
			}
			if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.RequestID == "" {
				t.Errorf("the error is not one of ours: %+v (%v)", e, err)
			}
		})
	}
	if entries, _ := os.ReadDir(w.dir.Path); len(entries) != 2 || w.offset(vault.UploadID(id)) != 0 {
		t.Errorf("refusals left something behind: %v", entries)
	}
}

func TestWrongMethodsAreToldTheRightOnes(t *testing.T) {
	w := newWorld(t)
	for target, want := range map[string]string{"/uploads": "OPTIONS, POST", "/uploads/" + string(w.create(1)): "DELETE, HEAD, OPTIONS, PATCH"} {
		resp := w.expect(w.do("GET", target, nil), 405)
		if got := resp.Header.Get("Allow"); got != want {
			t.Errorf("%s: Allow %q, want %q", target, got, want)
		}
	}
}

// A client that breaks HTTP in the middle of a piece is told so, and keeps what it sent before.
func TestBrokenChunksAreTheClientsFault(t *testing.T) {
	w := newWorld(t)
	id := w.create(10)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprintf(conn, "PATCH /uploads/%s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"+
		"Content-Type: application/offset+octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nZZ\r\n", id)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || !bytes.Contains(answer, []byte(`"code":"invalid_body"`)) {
		t.Errorf("%d %s", resp.StatusCode, answer)
	}
	if got := w.offset(id); got != 3 {
		t.Errorf("offset %d, want 3", got)
	}
}

func TestMethodOverride(t *testing.T) {
	w := newWorld(t)
	id := w.create(4)
	w.expect(w.do("POST", "/uploads/"+string(id), strings.NewReader("1234"), "X-HTTP-Method-Override: PATCH",
		"Content-Type: application/offset+octet-stream", "Upload-Offset: 0"), 204)
	w.wantStored(id, []byte("1234"))
}

func TestOptionsTellsTheExtensions(t *testing.T) {
	w := newWorld(t)
	resp := w.expect(w.do("OPTIONS", "/uploads", nil), 200)
	if got := resp.Header.Get("Tus-Extension"); got != "creation,creation-with-upload,termination,expiration,checksum" {
		t.Errorf("Tus-Extension = %q", got)
	}
	if got := resp.Header.Get("Tus-Max-Size"); got != strconv.Itoa(maxSize) {
		t.Errorf("Tus-Max-Size = %q", got)
	}
}

// A connection that breaks in the middle of a piece costs nothing that has arrived.
func TestResumeAfterBrokenConnection(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(1 << 20)
	id := w.create(len(data))
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "PATCH /uploads/%s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: %d\r\n\r\n%s", id, len(data), data[:300_000])
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	// Not by HEAD, which would make the piece let go before it has begun.
	w.waitFor(func() bool {
		u, err := w.dir.Get(t.Context(), id)
		return err == nil && u.Offset == 300_000
	})
	w.expect(w.patch(id, 300_000, bytes.NewReader(data[300_000:])), 204)
	w.wantStored(id, data)
}

func (w *world) waitFor(done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it does not happen")
		}
	}
}

// A HEAD gets the lock of a PATCH whose client has gone silent, and what had arrived counts.
func TestHeadMakesStuckPatchLetGo(t *testing.T) {
	w := newWorld(t)
	id := w.create(1 << 20)
	pipe, stuck := io.Pipe()
	defer func() { _ = stuck.Close() }()
	answered := make(chan int, 1)
	go func() {
		resp := w.patch(id, 0, pipe)
		answered <- resp.StatusCode
	}()
	if _, err := stuck.Write(randomBytes(800_000)); err != nil {
		t.Fatal(err)
	}
	w.waitFor(func() bool {
		info, err := os.Stat(w.dir.DataPath(id))
		return err == nil && info.Size() > 500_000
	})
	if got := w.offset(id); got < 500_000 || got > 800_000 {
		t.Errorf("offset %d after the PATCH let go", got)
	}
	if status := <-answered; status != 423 {
		t.Errorf("the interrupted PATCH got %d", status)
	}
}

// What a crash left beyond the record's offset was never acknowledged, and does not become part of the upload.
func TestUnacknowledgedTailIsCutOff(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(500_000)
	id := w.create(len(data))
	w.expect(w.patch(id, 0, bytes.NewReader(data[:200_000])), 204)
	f, err := os.OpenFile(w.dir.DataPath(id), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 400_000)); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if got := w.offset(id); got != 200_000 {
		t.Fatalf("offset %d after a crash, want 200000", got)
	}
	w.expect(w.patch(id, 200_000, bytes.NewReader(data[200_000:])), 204)
	w.wantStored(id, data)
}

// A file that is shorter than its record says, by whoever's fault, does not become a video.
func TestShortFileIsNotDelivered(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(100_000)
	id := w.create(len(data))
	w.expect(w.patch(id, 0, bytes.NewReader(data)), 204)
	if err := os.Truncate(w.dir.DataPath(id), 50_000); err != nil {
		t.Fatal(err)
	}
	u, err := w.dir.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.dir.Deliver(t.Context(), u); err == nil {
		t.Error("half of the bytes were delivered")
	}
	if _, err := os.Stat(w.dir.DataPath(id)); err != nil {
		t.Error(err)
	}
}

func TestTermination(t *testing.T) {
	w := newWorld(t)
	id := w.create(10)
	w.expect(w.do("DELETE", "/uploads/"+string(id), nil), 204)
	w.expect(w.do("HEAD", "/uploads/"+string(id), nil), 404)
	if entries, _ := os.ReadDir(w.dir.Path); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	if got := w.recorder.actions; !slices.Equal(got, []string{"upload.terminated"}) {
		t.Errorf("audited: %v", got)
	}
}

func TestUploadThatBecameAVideoCannotBeTerminated(t *testing.T) {
	w := newWorld(t)
	id := w.create(4)
	w.expect(w.patch(id, 0, strings.NewReader("1234")), 204)
	u, err := w.dir.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	u.Finalize = &vault.FinalizeRequest{Filename: "x"}
	if err := w.dir.Save(t.Context(), &u); err != nil {
		t.Fatal(err)
	}
	w.expect(w.do("DELETE", "/uploads/"+string(id), nil), 409)
	if got := w.recorder.actions; !slices.Equal(got, []string{"upload.completed"}) {
		t.Errorf("audited: %v, and the DELETE was refused", got)
	}
	w.clock.advance(48 * time.Hour)
	w.expect(w.do("HEAD", "/uploads/"+string(id), nil), 200)
}

func TestExpiration(t *testing.T) {
	w := newWorld(t)
	id := w.create(10)
	w.clock.advance(50 * time.Minute)
	w.expect(w.patch(id, 0, strings.NewReader("1234")), 204) // keeps it for another hour
	w.clock.advance(50 * time.Minute)
	if w.offset(id) != 4 {
		t.Error("an upload that was added to is gone before its time")
	}
	if gone, err := w.dir.Discard(t.Context(), id); gone || err != nil {
		t.Errorf("Discard before its time: %v, %v", gone, err)
	}
	w.clock.advance(11 * time.Minute)
	w.expect(w.patch(id, 4, strings.NewReader("5")), 410)
	w.expect(w.do("GET", "/uploads/status/"+string(id), nil), 404)
	if gone, err := w.dir.Discard(t.Context(), id); !gone || err != nil {
		t.Errorf("Discard: %v, %v", gone, err)
	}
	w.expect(w.do("HEAD", "/uploads/"+string(id), nil), 404)
}
