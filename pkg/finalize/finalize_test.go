package finalize_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/finalize"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// world is one directory with uploads and videos, and any number of finalizers on it.
type world struct {
	gone    map[vault.VideoID]bool // that somebody deletes
	t       *testing.T
	root    string
	uploads *upload.Dir
	media   *media.Dir
	videos  *metadata.Store
	log     *audit.Log
	locks   locks
	tasks   *tasks
	caller  auth.Caller // who finalizes
	owner   string      // who uploads
}

// locks holds uploads by their id, as the locks of several processes do.
type locks struct{ ids *sync.Map }

func (l locks) Hold(_ context.Context, id vault.UploadID) (func(), error) {
	held, _ := l.ids.LoadOrStore(id, &sync.Mutex{})
	held.(*sync.Mutex).Lock()
	return held.(*sync.Mutex).Unlock, nil
}

// tasks is a queue in which the same task stands once.
type tasks struct {
	mu     sync.Mutex
	queued map[string]int
	down   bool
}

func (q *tasks) enqueue(_ context.Context, t vault.Task) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down {
		return errors.New("the queue is down")
	}
	q.queued[t.ID()]++
	return nil
}

type noCache struct{}

func (noCache) Get(context.Context, vault.VideoID) ([]byte, bool) { return nil, false }
func (noCache) Put(context.Context, vault.VideoID, []byte)        {}
func (noCache) Drop(context.Context, vault.VideoID) error         { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	root := t.TempDir()
	w := &world{t: t, root: root, caller: auth.Anybody, locks: locks{&sync.Map{}}, tasks: &tasks{queued: map[string]int{}}}
	w.media = &media.Dir{Videos: filepath.Join(root, "videos"), Pending: filepath.Join(root, "pending")}
	w.uploads = &upload.Dir{Path: filepath.Join(root, "uploads"), Media: w.media, Expiry: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	var err error
	w.log, err = audit.Open(audit.Config{Dir: filepath.Join(root, "audit")})
	if err := errors.Join(err, w.uploads.Init(), w.media.Init()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.log.Close() })
	w.videos = &metadata.Store{Media: w.media, Cache: noCache{}, Now: time.Now}
	return w
}

func (w *world) finalizer() *finalize.Finalizer {
	return &finalize.Finalizer{
		Uploads: w.uploads, Locks: w.locks, Markers: media.Markers{Store: w.media}, Videos: w.videos, Audit: w.log, Enqueue: w.tasks.enqueue,
		Checksum: upload.Checksum,
		Enlist:   func(context.Context, vault.Video) {},
		Gone:     func(_ context.Context, id vault.VideoID) (bool, error) { return w.gone[id], nil },
		Stands: func(ctx context.Context, id vault.VideoID) (bool, error) {
			_, err := w.videos.Get(ctx, id)
			if vault.KindOf(err) == vault.NotFound {
				return false, nil
			}
			return err == nil, err
		},
		Accepts:   func(contentType string) bool { return strings.HasPrefix(contentType, "video/") },
		Announce:  func(context.Context, *vault.Upload, string, string) error { return nil },
		Transcode: true, Now: time.Now, Metrics: finalize.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}
}

func (w *world) marked() ([]vault.VideoID, error) {
	return media.Markers{Store: w.media}.Marked(w.t.Context())
}

// mp4 begins as an MP4 does.
func mp4() []byte {
	return append([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x10\x00free"), make([]byte, 4088)...)
}

// upload leaves an upload of which all but missing bytes have arrived.
func (w *world) upload(content []byte, missing int) vault.UploadID {
	w.t.Helper()
	here := content[:len(content)-missing]
	h := sha256.New()
	h.Write(here)
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	u := vault.Upload{
		UploadID: vault.NewUploadID(), VideoID: vault.NewVideoID(), Owner: w.owner, Size: int64(len(content)), Offset: int64(len(here)), HashState: state,
		CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}
	if err := errors.Join(err, os.WriteFile(w.uploads.DataPath(u.UploadID), here, 0o640), w.uploads.Save(w.t.Context(), &u)); err != nil {
		w.t.Fatal(err)
	}
	return u.UploadID
}

func (w *world) post(body string) (int, string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	observer := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
	observer.Wrap(web.Handler(w.finalizer().ServeFinalize)).ServeHTTP(rec, httptest.NewRequestWithContext(auth.With(w.t.Context(), w.caller), http.MethodPost, "/uploads/finalize", strings.NewReader(body)))
	return rec.Code, rec.Body.String()
}

// files lists everything under the world but the audit log, for before and after.
func (w *world) files() string {
	w.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/audit/") {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, sha256.Sum256(data))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// audited counts the entries about finalized videos, and fails the test if the chain is not whole.
func (w *world) audited() (entries, events int) {
	w.t.Helper()
	report, err := audit.Verify(w.t.Context(), filepath.Join(w.root, "audit"), nil)
	if err != nil || !report.OK() {
		w.t.Fatalf("audit log: %v, %v", report, err)
	}
	paths, _ := filepath.Glob(filepath.Join(w.root, "audit", "upload-*.log"))
	ids := map[string]bool{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var e struct{ EventID string }
			if err := json.Unmarshal(line, &e); err != nil {
				w.t.Fatal(err)
			}
			entries++
			ids[e.EventID] = true
		}
	}
	return entries, len(ids)
}

// A video that somebody has begun to delete while it was still being finalized is deleted.
func TestDeletedMeanwhile(t *testing.T) {
	w := newWorld(t)
	id := w.upload(mp4(), 0)
	u, err := w.uploads.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w.gone = map[vault.VideoID]bool{u.VideoID: true}
	if status, text := w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, id)); status != http.StatusNotFound || !strings.Contains(text, "video_deleted") {
		t.Errorf("%d %s", status, text)
	}
}

func TestFinalize(t *testing.T) {
	w := newWorld(t)
	content := mp4()
	id := w.upload(content, 0)
	sum := sha256.Sum256(content)
	checksum := hex.EncodeToString(sum[:])
	status, body := w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"../../gait.mp4","userId":"dr-x","checksum":%q,
		"metadata":{"videoId":"x","status":"transcoded","checksum":"y","originalChecksum":"z","userId":"root","kept":[1]}}`, id, checksum))
	var a struct {
		VideoID             vault.VideoID
		Status, Transcoding string
		Size                int
		Checksum            string
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if a.Status != "uploaded" || a.Transcoding != "queued" || a.Size != len(content) || a.Checksum != checksum {
		t.Errorf("answer %s", body)
	}
	stored, err := os.ReadFile(filepath.Join(w.media.Videos, string(a.VideoID), "original.mp4"))
	if err != nil || !bytes.Equal(stored, content) {
		t.Errorf("the original is not what was uploaded: %v", err)
	}
	v, err := w.videos.Get(t.Context(), a.VideoID)
	if err != nil || v.UserID != "dr-x" || v.Status != vault.Uploaded || v.OriginalChecksum != checksum || v.Filename != "../../gait.mp4" || v.ContentType != "video/mp4" {
		t.Errorf("record %+v, %v", v, err)
	}
	if want := `{"checksum":"y","kept":[1],"originalChecksum":"z","status":"transcoded","userId":"root","videoId":"x"}`; string(v.Metadata) != want {
		t.Errorf("metadata %s", v.Metadata)
	}
	if marked, err := w.marked(); err != nil || len(marked) != 1 || marked[0] != a.VideoID {
		t.Errorf("marked %v, %v", marked, err)
	}
	if w.tasks.queued["transcode:"+string(a.VideoID)] != 1 {
		t.Errorf("queued %v", w.tasks.queued)
	}
	if entries, _ := w.audited(); entries != 1 {
		t.Errorf("%d audit entries", entries)
	}
}

func TestSameAnswerHoweverOften(t *testing.T) {
	w := newWorld(t)
	id := w.upload(mp4(), 0)
	body := fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, id)
	answers := make([]string, 14)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() { _, answers[i] = w.post(body) })
	}
	wg.Wait()
	_, answers[12] = w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"other.mp4"}`, id))
	w.uploads.Now = func() time.Time { return time.Now().Add(25 * time.Hour) }
	_, answers[13] = w.post(body)
	for _, a := range answers {
		if a != answers[0] || !strings.Contains(a, `"videoId"`) {
			t.Errorf("answers differ: %s and %s", a, answers[0])
		}
	}
	if entries, _ := w.audited(); entries != 1 || len(w.tasks.queued) != 1 {
		t.Errorf("%d audit entries, tasks %v", entries, w.tasks.queued)
	}
	if dirs, _ := os.ReadDir(w.media.Videos); len(dirs) != 1 {
		t.Errorf("%d videos of one upload", len(dirs))
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	good, half, none := w.upload(mp4(), 0), w.upload(mp4(), 100), w.upload(nil, 0)
	other := w.upload(mp4(), 0)
	status, answer := w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, other))
	var a struct{ VideoID string }
	if err := json.Unmarshal([]byte(answer), &a); err != nil || status != 200 {
		t.Fatal(status, answer)
	}
	typed := map[string][]byte{
		"text": []byte("hello, world\n"), "html": []byte("<!DOCTYPE html><script>alert(1)</script>"), "pdf": []byte("%PDF-1.7\n%âãÏÓ"),
		"playlist": []byte("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n"),
		"concat":   []byte("ffconcat version 1.0\nfile /etc/passwd\n"), "png": []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
		"mp3": []byte("ID3\x03\x00\x00\x00\x00\x00\x00"), "m4a": []byte("\x00\x00\x00\x18ftypM4A \x00\x00\x02\x00isomiso2"),
		"svg": []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), "dash": []byte(`<?xml version="1.0"?><MPD/>`), "zero": {0},
	}
	cases := map[string]int{
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, half):                                                  409,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, none):                                                  409,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","checksum":"%064d"}`, good, 0):                            422,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","checksum":"ABC"}`, good):                                 400,
		fmt.Sprintf(`{"uploadId":%q,"filename":""}`, good):                                                       400,
		fmt.Sprintf(`{"uploadId":%q}`, good):                                                                     400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a\u0000b"}`, good):                                               400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","metadata":[]}`, good):                                    400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","metadata":"x"}`, good):                                   400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","path":"/etc/passwd"}`, good):                             400,
		fmt.Sprintf(`{"uploadId":%q,"filename":5}`, good):                                                        400,
		fmt.Sprintf(`{"uploadId":%q,"filename":%q}`, good, strings.Repeat("a", 256)):                             400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, strings.ToUpper(string(good))):                         400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, vault.NewUploadID()):                                   404,
		fmt.Sprintf(`{"uploadId":"../videos/%s/original.mp4","filename":"a.mp4"}`, a.VideoID):                    400,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, a.VideoID):                                             404,
		fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","metadata":{"x":%q}}`, good, strings.Repeat("a", 70_000)): 413,
		`{"uploadId":"","filename":"a.mp4"}`:                                                                     400,
		`{"uploadId":"../../x","filename":"a.mp4"}`:                                                              400,
		`{"uploadId":"../audit","filename":"a.mp4"}`:                                                             400,
		`{"uploadId":"/etc/passwd","filename":"a.mp4"}`:                                                          400,
		`{"uploadId":"` + strings.Repeat("a", 60<<10) + `","filename":"a.mp4"}`:                                  400,
		`not json`: 400, `[]`: 400, ``: 400, `{"uploadId":"` + strings.Repeat("a", 10<<20) + `"}`: 413,
	}
	for _, content := range typed {
		cases[fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, w.upload(content, 0))] = 415
	}
	before := w.files()
	for body, want := range cases {
		status, answer := w.post(body)
		if status != want || !strings.HasPrefix(answer, `{"error":{"code":"`) || strings.Contains(answer, w.root) {
			t.Errorf("%.120s: %d, want %d: %s", body, status, want, answer)
		}
	}
	if w.files() != before {
		t.Error("a refusal moved or changed something")
	}
	_, answer = w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, half))
	if want := fmt.Sprintf(`"details":{"offset":%d,"size":%d}`, len(mp4())-100, len(mp4())); !strings.Contains(answer, want) {
		t.Errorf("the refusal does not tell both offsets: %s", answer)
	}
}

// The queue may be down: the marker brings the task later.
func TestQueueDownLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.tasks.down = true
	id := w.upload(mp4(), 0)
	if status, body := w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, id)); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if marked, _ := w.marked(); len(marked) != 1 {
		t.Errorf("marked %v", marked)
	}
}

// Of a video that was removed without a word to its upload's record, as records of before they named their uploads have it,
// finalizing the upload again says that it is gone, and makes no other.
func TestFinalizedAgainAfterTheVideoIsGone(t *testing.T) {
	w := newWorld(t)
	req := finalize.Request{UploadID: w.upload(mp4(), 0), Filename: "a.mp4", Caller: auth.Anybody}
	u, err := w.finalizer().Finalize(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := w.finalizer().Finalize(t.Context(), req); err != nil || again.VideoID != u.VideoID {
		t.Fatalf("while it is there: %+v, %v", again, err)
	}
	if err := w.media.HideVideo(t.Context(), u.VideoID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var e *vault.Error
		if _, err := w.finalizer().Finalize(t.Context(), req); vault.KindOf(err) != vault.NotFound || !errors.As(err, &e) || e.Code != "video_deleted" {
			t.Errorf("finalized again: %v", err)
		}
	}
	unsure := w.finalizer()
	unsure.Stands = func(context.Context, vault.VideoID) (bool, error) { return false, errCrash }
	if _, err := unsure.Finalize(t.Context(), req); !errors.Is(err, errCrash) {
		t.Errorf("while the store cannot be asked: %v", err)
	}
}

// failing stops a finalizer at one of its calls, as a crash does.
type failing struct {
	finalize.Uploads
	finalize.Markers
	finalize.Videos
	finalize.Auditor
	at string
}

var errCrash = errors.New("crash")

func (f failing) fail(at string) error {
	if f.at == at {
		return errCrash
	}
	return nil
}

func (f failing) Mark(ctx context.Context, id vault.VideoID, from vault.UploadID) error {
	if err := f.fail("before mark"); err != nil {
		return err
	}
	return errors.Join(f.Markers.Mark(ctx, id, from), f.fail("after mark"))
}

func (f failing) Deliver(ctx context.Context, u vault.Upload) error {
	return errors.Join(f.Uploads.Deliver(ctx, u), f.fail("after move"))
}

func (f failing) Create(ctx context.Context, v vault.Video) (vault.Video, error) {
	v, err := f.Videos.Create(ctx, v)
	return v, errors.Join(err, f.fail("after record"))
}

func (f failing) Append(ctx context.Context, c audit.Category, e audit.Event) error {
	return errors.Join(f.Auditor.Append(ctx, c, e), f.fail("after audit"))
}

// Whatever step it stops after, running it again, by the client or by the sweep, finishes the same video.
func TestInterruptedFinalizeGoesOn(t *testing.T) {
	for _, at := range []string{"before mark", "after mark", "after move", "after record", "after audit"} {
		for _, by := range []string{"client", "sweep"} {
			t.Run(at+"/"+by, func(t *testing.T) {
				w := newWorld(t)
				content := mp4()
				binary.BigEndian.PutUint32(content[100:], uint32(len(at)))
				id := w.upload(content, 0)
				req := finalize.Request{UploadID: id, Filename: "a.mp4", UserID: "first", Caller: auth.Anybody}
				broken := w.finalizer()
				f := failing{broken.Uploads, broken.Markers, broken.Videos, broken.Audit, at}
				broken.Uploads, broken.Markers, broken.Videos, broken.Audit = f, f, f, f
				if _, err := broken.Finalize(t.Context(), req); !errors.Is(err, errCrash) {
					t.Fatalf("it did not stop: %v", err)
				}
				if by == "client" {
					req.UserID = "second"
					if _, err := w.finalizer().Finalize(t.Context(), req); err != nil {
						t.Fatal(err)
					}
				} else if resumed, err := w.finalizer().Resume(t.Context(), id); !resumed || err != nil {
					t.Fatal(resumed, err)
				}
				u, err := w.uploads.Get(t.Context(), id)
				if err != nil || !u.Finalized {
					t.Fatalf("%+v, %v", u, err)
				}
				v, err := w.videos.Get(t.Context(), u.VideoID)
				if err != nil || v.UserID != "first" {
					t.Errorf("the first request does not count: %+v, %v", v, err)
				}
				stored, err := os.ReadFile(filepath.Join(w.media.Videos, string(u.VideoID), "original.mp4"))
				if err != nil || !bytes.Equal(stored, content) {
					t.Errorf("the original is not what was uploaded: %v", err)
				}
				if _, events := w.audited(); events != 1 {
					t.Errorf("%d events audited for one video", events)
				}
				if w.tasks.queued["transcode:"+string(u.VideoID)] == 0 {
					t.Error("no task")
				}
				if resumed, err := w.finalizer().Resume(t.Context(), id); resumed || err != nil {
					t.Errorf("resumed what is done: %v", err)
				}
			})
		}
	}
}

// A caller finalizes its own uploads, in its own name; of others' it hears what it hears of those that are not there.
func TestWhoMayFinalize(t *testing.T) {
	ann := auth.Caller{Name: "ann", Roles: []auth.Role{auth.Uploader}}
	service := auth.Caller{Name: "svc", Roles: []auth.Role{auth.Service}}
	forAnn, admin := service, auth.Caller{Name: "adm", Roles: []auth.Role{auth.Admin}}
	forAnn.For = "ann"
	for name, tc := range map[string]struct {
		owner, userID string
		caller        auth.Caller
		status        int
		want          string // the video's userId, or the error's code
	}{
		"own":                             {"ann", "", ann, 200, "ann"},
		"own, by name":                    {"ann", "ann", ann, 200, "ann"},
		"own, in another's name":          {"ann", "bob", ann, 403, "not_your_name"},
		"another's":                       {"bob", "", ann, 404, "upload_not_found"},
		"nobody's":                        {"", "", ann, 404, "upload_not_found"},
		"by a viewer":                     {"ann", "", auth.Caller{Name: "ann", Roles: []auth.Role{auth.Viewer}}, 404, "upload_not_found"},
		"by nobody":                       {"ann", "", auth.Caller{}, 404, "upload_not_found"},
		"by an admin":                     {"ann", "", admin, 200, "ann"},
		"by an admin in another's name":   {"ann", "bob", admin, 403, "not_your_name"},
		"by a service":                    {"ann", "", service, 200, "ann"},
		"by a service in another's name":  {"svc", "bob", service, 200, "bob"},
		"by a service for ann":            {"ann", "", forAnn, 200, "ann"},
		"by a service for ann and bob":    {"ann", "bob", forAnn, 403, "not_your_name"},
		"where nobody is asked":           {"", "anybody", auth.Anybody, 200, "anybody"},
		"where nobody is asked, or named": {"", "", auth.Anybody, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.caller, w.owner = tc.caller, tc.owner
			id := w.upload(mp4(), 0)
			status, answer := w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4","userId":%q}`, id, tc.userID))
			if status != tc.status {
				t.Fatalf("%d %s", status, answer)
			}
			if status != 200 {
				_, absent := w.post(fmt.Sprintf(`{"uploadId":%q,"filename":"a.mp4"}`, vault.NewUploadID()))
				if !strings.Contains(answer, tc.want) || status == 404 && !sameError(answer, absent) {
					t.Errorf("%s; of one that is not there: %s", answer, absent)
				}
				return
			}
			u, _ := w.uploads.Get(t.Context(), id)
			if v, err := w.videos.Get(t.Context(), u.VideoID); err != nil || v.UserID != tc.want {
				t.Errorf("the video is %q's, %v", v.UserID, err)
			}
		})
	}
}

// sameError compares two errors but for the ids of their requests.
func sameError(a, b string) bool {
	id := regexp.MustCompile(`"requestId":"[^"]*"`)
	return id.ReplaceAllString(a, "") == id.ReplaceAllString(b, "")
}
