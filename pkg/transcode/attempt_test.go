package transcode_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pulsevault/pkg/vault"
)

// long takes some seconds to transcode.
func long(t *testing.T) string {
	return clip(t, "long.mp4", join(picture("1280x720", "30", 20), h264())...)
}

func short(t *testing.T) string {
	return clip(t, "short.mp4", join(picture("320x240", "25", 7), sound(7), h264(), aac())...)
}

// during calls do once, while ffmpeg is at work.
func (w *world) during(do func()) {
	var once sync.Once
	w.told.onMove = func(fraction float64) {
		if fraction > 0 && fraction < 1 {
			once.Do(do)
		}
	}
}

func TestAStoppingWorkerGivesTheVideoBack(t *testing.T) {
	w := newWorld(t)
	id := w.add(long(t), "video/mp4")
	ctx, cancel := context.WithCancel(t.Context())
	w.during(cancel)
	if err := w.Transcode(ctx, id, true); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if v := w.get(id); v.Status != vault.Uploaded || v.Attempt != 1 {
		t.Errorf("status %s, attempt %d", v.Status, v.Attempt)
	}
	if !w.marked(id) || len(w.told.events) > 0 || len(w.told.counted) > 0 {
		t.Errorf("marker %v, audit %v, totals %v", w.marked(id), w.told.events, w.told.counted)
	}
	w.wantResults(map[string]float64{"given_back": 1})
	w.wantNothingLeft(id)
}

func TestAnOvertakenAttemptPublishesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.add(long(t), "video/mp4")
	newer := filepath.Join(w.folder(id), ".work-2")
	w.during(func() {
		w.set(id, func(v *vault.Video) { v.Attempt = 2 })
		if err := os.Mkdir(newer, 0o750); err != nil {
			t.Error(err)
		}
	})
	if err := w.Transcode(t.Context(), id, true); err != nil {
		t.Errorf("error %v: it would be tried again", err)
	}
	if v := w.get(id); v.Status != vault.Transcoding || v.Attempt != 2 || len(w.told.events) > 0 {
		t.Errorf("recorded %+v, audit %v", v, w.told.events)
	}
	if files := w.published(id); files != "master.m3u8 source.m3u8 source_000.ts source_001.ts source_002.ts" {
		t.Errorf("published %s, and only the source was before", files)
	}
	if err := os.Remove(newer); err != nil {
		t.Errorf("the newer attempt's folder: %v", err)
	}
	w.wantNothingLeft(id)
}

// The newer worker takes the work folder away while the older one's ffmpeg writes there.
func TestAnOvertakenAttemptThatFailsIsNoFailure(t *testing.T) {
	w := newWorld(t)
	id := w.add(long(t), "video/mp4")
	w.during(func() {
		w.set(id, func(v *vault.Video) { v.Attempt = 2 })
		if err := os.RemoveAll(filepath.Join(w.folder(id), ".work-1")); err != nil {
			t.Log(err)
		}
	})
	if err := w.Transcode(t.Context(), id, true); err != nil {
		t.Errorf("error %v", err)
	}
	if v := w.get(id); v.Status != vault.Transcoding || v.TranscodeError != "" || len(w.told.events) > 0 {
		t.Errorf("recorded %+v, audit %v", v, w.told.events)
	}
}

func TestSegmentNamesAreNotUsedAgain(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), "video/mp4")
	w.set(id, func(v *vault.Video) { v.Status, v.Attempt = vault.Transcoding, 1 })
	// A crash after some of the first attempt's files were moved.
	for name, content := range map[string]string{"hls/240p_000.ts": "old", "hls/240p.m3u8": "old", ".work-1/240p_001.ts": "old"} {
		path := filepath.Join(w.folder(id), filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(content), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if files := w.published(id); files != "240p.g2.m3u8 240p.g2_000.ts 240p.g2_001.ts master.m3u8 source.g2.m3u8 source.g2_000.ts" {
		t.Errorf("published %s", files)
	}
	w.wantNothingLeft(id)
	wantPlayable(t, w.hls(id), "320x240", true, 7)
}

func (w *world) published(id vault.VideoID) string {
	w.t.Helper()
	entries, err := os.ReadDir(w.hls(id))
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// The master playlist is published and then the record cannot be written: nothing is encoded again.
func TestWhatIsPublishedIsNotEncodedAgain(t *testing.T) {
	w := newWorld(t)
	// Its container does not tell how long it is.
	id := w.add(clip(t, "live.webm", join(picture("320x240", "25", 7), []string{"-c:v", "libvpx", "-deadline", "realtime", "-live", "1"})...), "video/webm")
	w.videos.refuse = func(v vault.Video) error {
		if v.Status == vault.Transcoded {
			return errors.New("the disk is away")
		}
		return nil
	}
	if err := w.Transcode(t.Context(), id, false); err == nil || vault.KindOf(err) == vault.Unprocessable {
		t.Fatalf("error %v", err)
	}
	before := w.published(id)
	if v := w.get(id); v.Status != vault.Uploaded || !w.marked(id) {
		t.Errorf("status %s, marker %v", v.Status, w.marked(id))
	}
	w.videos.refuse = nil
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	v := w.get(id)
	if v.Status != vault.Transcoded || fmt.Sprint(v.Renditions) != "[240p]" || v.Width != 320 || v.Duration < 6.9 || v.Attempt != 2 {
		t.Errorf("recorded %+v", v)
	}
	if after := w.published(id); after != before || strings.Contains(after, ".g2") {
		t.Errorf("published %s, before %s", after, before)
	}
	w.wantResults(map[string]float64{"success": 1, "retried": 1})
	w.wantNothingLeft(id)
}

// The video is transcoded and the audit log is away: the rest is done later, under the same event's id, and once.
func TestTheRestIsDoneLater(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), "video/mp4")
	w.told.refuse = errors.New("the audit log is away")
	if err := w.Transcode(t.Context(), id, true); err == nil || vault.KindOf(err) == vault.Unprocessable {
		t.Fatalf("error %v", err)
	}
	if v := w.get(id); v.Status != vault.Transcoded || !w.marked(id) {
		t.Errorf("status %s, marker %v", v.Status, w.marked(id))
	}
	if err := os.Mkdir(filepath.Join(w.folder(id), ".work-1"), 0o750); err != nil { // what a crash may leave
		t.Fatal(err)
	}
	w.told.refuse = nil
	for range 2 {
		if err := w.Transcode(t.Context(), id, false); err != nil {
			t.Fatal(err)
		}
	}
	if v := w.get(id); v.Attempt != 1 || w.marked(id) {
		t.Errorf("attempt %d, marker %v", v.Attempt, w.marked(id))
	}
	for _, e := range w.told.events {
		if e.Action != "video.transcoded" || e.ID != w.told.events[0].ID {
			t.Errorf("audit %+v", w.told.events)
		}
	}
	if fmt.Sprint(w.told.counted) != "[true]" {
		t.Errorf("totals %v", w.told.counted)
	}
	w.wantResults(map[string]float64{"success": 1})
	w.wantNothingLeft(id)
}

// A fake ffmpeg ends as ffmpeg does when it is not the file's fault.
func TestFailuresThatMayPass(t *testing.T) {
	for name, script := range map[string]string{
		"killed":               "kill -9 $$",
		"disk full":            "echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 1",
		"no encoder":           "echo \"Unknown encoder 'libx264'\" >&2; exit 1",
		"disk full, unworried": "echo 'failed to write: No space left on device' >&2; exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.add(short(t), "video/mp4")
			bin := t.TempDir()
			if err := os.WriteFile(filepath.Join(bin, "ffmpeg"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			if err := w.Transcode(t.Context(), id, false); err == nil || vault.KindOf(err) == vault.Unprocessable {
				t.Errorf("error %v", err)
			}
			if v := w.get(id); v.Status != vault.Uploaded || !w.marked(id) || len(w.told.events) > 0 {
				t.Errorf("status %s, marker %v, audit %v", v.Status, w.marked(id), w.told.events)
			}
			w.wantResults(map[string]float64{"retried": 1})
			if err := w.Transcode(t.Context(), id, true); vault.KindOf(err) != vault.Unprocessable {
				t.Errorf("error of the final attempt %v", err)
			}
			v := w.get(id)
			if v.Status != vault.TranscodeFailed || strings.Contains(name, "full") != strings.Contains(v.TranscodeError, "disk was full") || w.marked(id) {
				t.Errorf("status %s, reason %q", v.Status, v.TranscodeError)
			}
			w.wantNothingLeft(id)
		})
	}
}

func TestGiveUp(t *testing.T) {
	for _, status := range []vault.Status{vault.Uploaded, vault.Transcoding} {
		w := newWorld(t)
		id := w.add(short(t), "video/mp4")
		w.set(id, func(v *vault.Video) { v.Status = status })
		for range 2 {
			if err := w.GiveUp(t.Context(), vault.Task{Type: vault.TranscodeVideo, VideoID: id}, "the workers died"); err != nil {
				t.Fatal(err)
			}
		}
		if v := w.get(id); v.Status != vault.TranscodeFailed || v.TranscodeError != "the workers died" || w.marked(id) {
			t.Errorf("recorded %+v", v)
		}
		for _, e := range w.told.events {
			if e.ID != w.told.events[0].ID || e.Action != "video.transcode_failed" {
				t.Errorf("audit %+v", w.told.events)
			}
		}
	}
}
