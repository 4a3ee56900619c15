package transcode_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/vault"
)

// wantFailed fails the test unless the video was given up with a reason, and nothing is left of it but the original.
func (w *world) wantFailed(id vault.VideoID, err error) {
	w.t.Helper()
	v := w.get(id)
	if vault.KindOf(err) != vault.Unprocessable || v.Status != vault.TranscodeFailed || v.TranscodeError == "" {
		w.t.Errorf("error %v, status %s, reason %q", err, v.Status, v.TranscodeError)
	}
	if strings.ContainsAny(v.TranscodeError, "/\\\n@[") {
		w.t.Errorf("the reason is not for people: %q", v.TranscodeError)
	}
	if files, _ := filepath.Glob(filepath.Join(w.hls(id), "*")); len(files) > 0 {
		w.t.Errorf("left in hls: %v", files)
	}
	if w.marked(id) {
		w.t.Error("the marker is still there")
	}
	if len(w.told.events) != 1 || w.told.events[0].Action != "video.transcode_failed" {
		w.t.Errorf("audit: %+v", w.told.events)
	}
	if fmt.Sprint(w.told.counted) != "[false]" {
		w.t.Errorf("totals: %v", w.told.counted)
	}
	w.wantResults(map[string]float64{"failed": 1})
	w.wantNothingLeft(id)
}

// half cuts a file in the middle.
func half(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "half")
	if err := os.WriteFile(cut, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	return cut
}

// What is no video, or not a whole one, fails at once and with a reason, however often it might be tried.
func TestNoVideo(t *testing.T) {
	for _, tc := range []struct {
		name, contentType string
		path              func(t *testing.T) string
	}{
		{"audio only", "video/mp4", func(t *testing.T) string { return clip(t, "x.mp4", join(sound(3), aac())...) }},
		{"PNG", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.png", join(picture("320x240", "1", 1), []string{"-frames:v", "1"})...)
		}},
		{"MP3 with cover art", "video/mp4", func(t *testing.T) string {
			cover := clip(t, "c.png", join(picture("320x240", "1", 1), []string{"-frames:v", "1"})...)
			return clip(t, "x.mp3", join([]string{"-i", cover}, sound(2), []string{"-map", "1", "-map", "0", "-c:v", "copy", "-disposition:v", "attached_pic"})...)
		}},
		{"M4A with cover art", "video/mp4", func(t *testing.T) string {
			cover := clip(t, "c.png", join(picture("320x240", "1", 1), []string{"-frames:v", "1"})...)
			return clip(t, "x.m4a", join([]string{"-i", cover}, sound(2), []string{"-map", "1", "-map", "0", "-c:v", "copy", "-disposition:v", "attached_pic", "-f", "mp4"})...)
		}},
		{"half, index at the end", "video/mp4", func(t *testing.T) string {
			return half(t, clip(t, "x.mp4", join(picture("320x240", "25", 5), h264())...))
		}},
		{"half, index in front", "video/mp4", func(t *testing.T) string {
			return half(t, clip(t, "x.mp4", join(picture("320x240", "25", 5), h264(), []string{"-movflags", "+faststart"})...))
		}},
		{"a picture that would fill any memory", "video/quicktime", func(t *testing.T) string {
			data, err := os.ReadFile(clip(t, "x.mov", join(picture("320x240", "25", 1), []string{"-c:v", "qtrle"})...))
			if err != nil {
				t.Fatal(err)
			}
			entry := bytes.Index(data, []byte("rle ")) // of the sample descriptions: width and height are 28 bytes on (QTFF)
			copy(data[entry+28:], "\xff\xff\xff\xff")
			return write(t, string(data))
		}},
		{"a still for days", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "1", 3), []string{"-vf", "setpts=N*86400/TB", "-vsync", "passthrough"}, h264())...)
		}},
		{"a still for a year that does not say so", "video/webm", func(t *testing.T) string {
			return clip(t, "x.webm", join(picture("320x240", "1", 3), []string{"-vf", "setpts=N*1576800/TB", "-vsync", "passthrough", "-c:v", "libvpx", "-live", "1"})...)
		}},
		{"text", "video/mp4", func(t *testing.T) string { return write(t, "this is no video") }},
		{"nothing", "video/webm", func(t *testing.T) string { return write(t, "") }},
		{"a type that is not accepted", "application/vnd.apple.mpegurl", func(t *testing.T) string { return write(t, "#EXTM3U\n") }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.add(tc.path(t), tc.contentType)
			w.wantFailed(id, w.Transcode(t.Context(), id, false))
		})
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
