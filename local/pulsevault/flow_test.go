package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The whole way, for the kinds of video that phones and clinics bring.
func TestFromUploadToPlayback(t *testing.T) {
	sound := []string{"-f", "lavfi", "-i", "sine=frequency=440:duration=8", "-c:a", "aac", "-shortest"}
	picture := func(size string, rate, seconds int) []string {
		return []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d:duration=%d", size, rate, seconds)}
	}
	h264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"}
	join := func(parts ...[]string) (args []string) {
		for _, p := range parts {
			args = append(args, p...)
		}
		return args
	}
	clips := map[string]struct {
		path string
		top  string // the best variant's RESOLUTION
	}{
		"1080p":      {clip(t, "1080p.mp4", join(picture("1920x1080", 30, 7), sound, h264)...), "1920x1080"},
		"1 fps":      {clip(t, "slow.mp4", join(picture("320x240", 1, 20), h264)...), "320x240"},
		"no audio":   {clip(t, "silent.mp4", join(picture("640x360", 25, 7), h264)...), "640x360"},
		"odd size":   {clip(t, "odd.mp4", join(picture("427x241", 25, 3), sound, []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p"})...), "426x240"},
		"rotated":    {rotated(t, clip(t, "upright.mp4", join(picture("640x360", 25, 3), sound, h264)...)), "360x640"},
		"vp8 webm":   {clip(t, "vp8.webm", join(picture("640x480", 25, 3), []string{"-f", "lavfi", "-i", "sine=duration=3", "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libvorbis"})...), "640x480"},
		"three tiny": {shortClip(t), "320x240"},
	}
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		p := newPlace(t)
		server := p.start()
		t.Run("clips", func(t *testing.T) {
			for name, tc := range clips {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					wantWholeWay(client{t, server.url}, tc.path, tc.top)
				})
			}
		})
		server.stop()
		p.verifyAudit()
	})
}

// wantWholeWay sends a clip and plays it. top is the RESOLUTION of the best variant.
func wantWholeWay(c client, path, top string) {
	c.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	id := c.send(path)
	c.await(id, "transcoded")
	c.wantOriginal(id, content)
	c.wantPlays(id)
	c.wantPreview(id)
	var r struct {
		Status             string
		Progress           float64
		Renditions         []struct{ Name, Playlist string }
		MasterPlaylist     string
		Poster, Storyboard string
	}
	a := c.do(200, "GET", c.sign(id, "renditions"), nil)
	if err := json.Unmarshal(a.body, &r); err != nil || r.Status != "ready" || r.Progress != 1 || len(r.Renditions) == 0 || r.MasterPlaylist == "" ||
		r.Poster != "poster.jpg" || r.Storyboard != "storyboard.vtt" {
		c.t.Errorf("renditions %s, %v", a.body, err)
	}
	master := c.do(200, "GET", c.sign(id, "hls/master.m3u8"), nil)
	if !bytes.Contains(master.body, []byte("RESOLUTION="+top)) {
		c.t.Errorf("no variant of %s in\n%s", top, master.body)
	}
}

// rotated marks a clip as filmed with the phone held upright.
func rotated(t *testing.T, path string) string {
	t.Helper()
	return clip(t, "rotated.mp4", "-i", path, "-c", "copy", "-metadata:s:v:0", "rotate=90")
}

// What is no video ends with a reason, and leaves nothing half-made.
func TestNoVideoEndsWithAReason(t *testing.T) {
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) { wantReasons(newPlace(t)) })
}

func wantReasons(p place) {
	t := p.t
	t.Helper()
	c := client{t, p.start().url}
	whole, err := os.ReadFile(clip(t, "whole.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=4", "-c:v", "libx264", "-preset", "ultrafast"))
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(t.TempDir(), "half.mp4")
	if err := os.WriteFile(half, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"cut in half": half,
		"audio only":  clip(t, "sound.mp4", "-f", "lavfi", "-i", "sine=duration=3", "-c:a", "aac"),
	} {
		id := c.send(path)
		c.await(id, "transcode_failed")
		a := c.do(200, "GET", c.sign(id, "metadata"), nil)
		var v struct{ TranscodeError string }
		if err := json.Unmarshal(a.body, &v); err != nil || v.TranscodeError == "" || strings.Contains(v.TranscodeError, "/") {
			t.Errorf("%s: reason %q, %v", name, v.TranscodeError, err)
		}
		if files, _ := filepath.Glob(filepath.Join(p.kept, "videos", id, "hls", "*")); len(files) > 0 {
			t.Errorf("%s: left in hls: %v", name, files)
		}
	}
}

func TestMetricsFromTheStart(t *testing.T) {
	c := client{t, start(t, "serve", t.TempDir()).url}
	for _, name := range []string{
		"pulsevault_uploads_total", "pulsevault_upload_size_bytes_count", `pulsevault_transcodes_total{result="success"}`,
		`pulsevault_transcodes_total{result="failed"}`, "pulsevault_transcode_duration_seconds_count", "pulsevault_bytes_served_total",
		`pulsevault_queue_tasks{queue="transcode",state="pending"}`, `pulsevault_queue_oldest_seconds{queue="transcode"}`,
		"pulsevault_all_uploads_completed_total", "pulsevault_all_transcodes_success_total", "pulsevault_all_transcodes_failed_total",
	} {
		if v := c.metric(name); v != 0 && name != "pulsevault_bytes_served_total" {
			t.Errorf("%s starts at %v", name, v)
		}
	}
	c.await(c.send(shortClip(t)), "transcoded")
	for _, name := range []string{"pulsevault_uploads_total", `pulsevault_transcodes_total{result="success"}`, "pulsevault_all_uploads_completed_total", "pulsevault_all_transcodes_success_total"} {
		if !comesTrue(func() bool { return c.shows(name, 1) }) { // counted after the record says so
			t.Errorf("%s is %v after one video", name, c.metric(name))
		}
	}
	if c.metric("pulsevault_bytes_served_total") == 0 {
		t.Error("no bytes counted")
	}
}

// Two servers and a worker on one directory and one Redis: six finalizes at once are one video.
func TestTwoServersAndAWorker(t *testing.T) {
	settings := redisSettings(t)
	root := t.TempDir()
	servers := []client{
		{t, start(t, "serve", root, append(settings, "WORKER_CONCURRENCY=0")...).url},
		{t, start(t, "serve", root, append(settings, "WORKER_CONCURRENCY=0")...).url},
	}
	worker := start(t, "worker", root, settings...)
	content, err := os.ReadFile(shortClip(t))
	if err != nil {
		t.Fatal(err)
	}
	location, err := servers[0].create(len(content))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := servers[0].resume(location, content[:len(content)/2], 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := servers[1].resume(location, content, 1<<20); err != nil { // the other one goes on
		t.Fatal(err)
	}
	ids := make([]string, 6)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			var err error
			if ids[i], err = servers[i%2].finalize(location); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Errorf("finalized as %s and %s", ids[0], id)
		}
	}
	servers[1].await(ids[0], "transcoded")
	servers[0].wantPlays(ids[0])
	worker.stop()
	verifyAudit(t, root, settings...)
	wantOnce(t, root, "video.finalized")
}

// On SIGTERM a running job is given back and the next process takes it at once; a request under way is finished.
func TestStopGivesTheJobBack(t *testing.T) {
	root := t.TempDir()
	first := start(t, "serve", root)
	c := client{t, first.url}
	id := c.send(clip(t, "long.mp4", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30:duration=60", "-c:v", "libx264", "-preset", "ultrafast"))
	for c.status(id) != "transcoding" {
		time.Sleep(20 * time.Millisecond)
	}
	body := &slowBody{parts: 20, started: make(chan struct{})}
	location, err := c.create(body.parts)
	if err != nil {
		t.Fatal(err)
	}
	patched := make(chan int, 1)
	go func() {
		a, _ := c.try("PATCH", location, body, "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset", "0")
		patched <- a.status
	}()
	<-body.started
	began := time.Now()
	first.stop()
	t.Logf("stopped within %v", time.Since(began))
	if status := <-patched; status != http.StatusNoContent {
		t.Errorf("the piece under way was answered with %d", status)
	}
	wantNoOrphans(t, root)
	meta, err := os.ReadFile(filepath.Join(root, "videos", id, "meta.json"))
	if err != nil || !bytes.Contains(meta, []byte(`"status":"uploaded"`)) {
		t.Errorf("the video was not given back: %s, %v", meta, err)
	}
	verifyAudit(t, root)
	second := client{t, start(t, "serve", root).url}
	if !comesTrueWithin(beforeTheSweep, func() bool { return second.status(id) == "transcoding" }) {
		t.Error("nobody takes the job that was given back")
	}
}

// slowBody sends a byte every 50 ms.
type slowBody struct {
	parts   int
	sent    int
	started chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.sent == b.parts {
		return 0, io.EOF
	}
	if b.sent == 1 {
		close(b.started)
	}
	time.Sleep(50 * time.Millisecond)
	b.sent++
	p[0] = 'x'
	return 1, nil
}
