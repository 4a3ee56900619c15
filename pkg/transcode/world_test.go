package transcode_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/media"
	"pulsevault/pkg/transcode"
	"pulsevault/pkg/vault"
)

// videos keeps records in memory under the rules of package metadata: one change at a time, and only allowed moves.
type videos struct {
	t  *testing.T
	mu sync.Mutex
	v  map[vault.VideoID]vault.Video
	// refuse, if set, is asked before each write; its error is the write's.
	refuse func(vault.Video) error
}

func (s *videos) Get(_ context.Context, id vault.VideoID) (vault.Video, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.v[id]
	if !ok {
		return v, vault.Errorf(vault.NotFound, "video_not_found", "there is no such video")
	}
	return v, nil
}

func (s *videos) Update(ctx context.Context, id vault.VideoID, change func(*vault.Video) error) (vault.Video, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return vault.Video{}, err
	}
	old, ok := s.v[id]
	if !ok {
		return vault.Video{}, vault.Errorf(vault.NotFound, "video_not_found", "there is no such video")
	}
	v := old
	if err := change(&v); err != nil {
		return vault.Video{}, err
	}
	if v.Status != old.Status && !old.Status.CanBecome(v.Status) {
		s.t.Errorf("status moved from %s to %s", old.Status, v.Status)
	}
	if s.refuse != nil {
		if err := s.refuse(v); err != nil {
			return vault.Video{}, err
		}
	}
	s.v[id] = v
	return v, nil
}

// world is a directory with videos, and everything that a Transcoder tells others.
type world struct {
	*transcode.Transcoder
	t        *testing.T
	dir      *media.Dir
	videos   *videos
	registry *prometheus.Registry
	told     *told
}

// told is what the transcoder told the audit log, the progress and the totals.
type told struct {
	t        *testing.T
	mu       sync.Mutex
	events   []audit.Event
	progress []float64
	counted  []bool
	onMove   func(fraction float64)
	refuse   error // what the audit log answers
}

func (w *told) Append(_ context.Context, c audit.Category, e audit.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c != audit.Transcode || e.ID == "" {
		w.t.Errorf("audit entry %+v in %s", e, c)
	}
	if w.refuse == nil {
		w.events = append(w.events, e)
	}
	return w.refuse
}

func (w *told) SetProgress(_ context.Context, _ vault.VideoID, fraction float64) {
	w.mu.Lock()
	w.progress = append(w.progress, fraction)
	moved := w.onMove
	w.mu.Unlock()
	if moved != nil {
		moved(fraction)
	}
}

func (w *told) CountTranscode(_ context.Context, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted = append(w.counted, ok)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, program := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED: %s is not installed", program)
		}
	}
	root := t.TempDir()
	w := &world{t: t, registry: prometheus.NewRegistry(), videos: &videos{t: t, v: map[vault.VideoID]vault.Video{}}, told: &told{t: t}}
	w.dir = &media.Dir{Videos: filepath.Join(root, "100% videos"), Pending: filepath.Join(root, "pending")}
	if err := w.dir.Init(); err != nil {
		t.Fatal(err)
	}
	w.Transcoder = &transcode.Transcoder{
		Videos: w.videos, Store: w.dir, Workshop: w.dir, Markers: media.Markers{Store: w.dir}, Audit: w.told, Progress: w.told, Counter: w.told, Enqueue: func(context.Context, vault.Task) error { return nil }, Ladder: transcode.Ladder(),
		Metrics: transcode.NewMetrics(w.registry), Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
	return w
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// add stores a file as a finalized video of a type.
func (w *world) add(path, contentType string) vault.VideoID {
	w.t.Helper()
	id := vault.NewVideoID()
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(w.folder(id), 0o750); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.folder(id), "original.mp4"), data, 0o640); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Markers.(media.Markers).Mark(w.t.Context(), id, vault.NewUploadID()); err != nil {
		w.t.Fatal(err)
	}
	w.videos.v[id] = vault.Video{VideoID: id, ContentType: contentType, OriginalSize: int64(len(data)), Status: vault.Uploaded, UploadedAt: time.Now()}
	return id
}

func (w *world) folder(id vault.VideoID) string { return filepath.Join(w.dir.Videos, string(id)) }
func (w *world) hls(id vault.VideoID) string    { return filepath.Join(w.folder(id), "hls") }

func (w *world) get(id vault.VideoID) vault.Video {
	w.t.Helper()
	v, err := w.videos.Get(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// set changes a record behind the transcoder's back, as another process would.
func (w *world) set(id vault.VideoID, change func(*vault.Video)) {
	w.videos.mu.Lock()
	defer w.videos.mu.Unlock()
	v := w.videos.v[id]
	change(&v)
	w.videos.v[id] = v
}

func (w *world) marked(id vault.VideoID) bool {
	_, err := os.Stat(filepath.Join(w.dir.Pending, string(id)))
	return err == nil
}

// wantResults fails the test unless exactly these results were counted, all others shown as 0.
func (w *world) wantResults(want map[string]float64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	shown := 0
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() != "pulsevault_transcodes_total" {
				continue
			}
			shown++
			if result := m.Label[0].GetValue(); m.Counter.GetValue() != want[result] {
				w.t.Errorf("%v transcodes counted as %s, want %v", m.Counter.GetValue(), result, want[result])
			}
		}
	}
	if shown != 4 {
		w.t.Errorf("%d results are shown, want 4", shown)
	}
}

// wantNothingLeft fails the test if there is work in progress.
func (w *world) wantNothingLeft(id vault.VideoID) {
	w.t.Helper()
	left, _ := filepath.Glob(filepath.Join(w.folder(id), ".work*"))
	if len(left) > 0 {
		w.t.Errorf("left behind: %v", left)
	}
	if out, err := exec.Command("pgrep", "-f", string(id)).Output(); err == nil {
		w.t.Errorf("a program still works on the video: %s", out)
	}
}

// clip makes a file with ffmpeg.
func clip(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	path := filepath.Join(t.TempDir(), name)
	all := append(append([]string{"-nostdin", "-v", "error", "-y"}, args...), path)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", all...).CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", name, err, out)
	}
	return path
}

func picture(size, rate string, seconds float64) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%s:duration=%g", size, rate, seconds)}
}

func sound(seconds float64) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=440:sample_rate=44100:duration=%g", seconds)}
}

func h264() []string {
	return []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}
}
func aac() []string { return []string{"-c:a", "aac"} }

func join(parts ...[]string) (args []string) {
	for _, p := range parts {
		args = append(args, p...)
	}
	return args
}
