package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pulsevault/pkg/app"
	"pulsevault/pkg/transcode"
)

// What ffmpeg writes into each container that can be transcoded is taken for what it is when it is finalized.
func TestContainersAreRecognised(t *testing.T) {
	a, c := newApp(t, nil)
	h := a.Handler(app.Functions...)
	for name, options := range map[string][]string{
		"x.mp4": nil, "x.mov": nil, "x.m4v": {"-f", "ipod"}, "x.3gp": {"-c:v", "mpeg4"}, "x.mkv": nil, "x.ts": nil,
		"x.m2ts": {"-mpegts_m2ts_mode", "1", "-f", "mpegts"}, "fragmented.mp4": {"-movflags", "frag_keyframe+empty_moov"},
		"x.webm": {"-c:v", "libvpx"}, "x.avi": {"-c:v", "mpeg4"}, "x.mpg": {"-c:v", "mpeg1video"}, "x.flv": {"-c:v", "flv1"},
		"x.wmv": {"-c:v", "wmv2"}, "sony.mp4": {"-brand", "MSNV"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name)
			args := append([]string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=176x144:rate=25:duration=1"}, options...)
			if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, file)...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			contentType := finalized(t, h, c, file)
			demuxer, ok := transcode.Demuxer(contentType)
			if out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-f", demuxer, file).CombinedOutput(); err != nil || !ok {
				t.Errorf("taken for %s, which %q cannot read: %s", contentType, demuxer, out)
			}
		})
	}
}

// finalized uploads a file, finalizes it, and returns the type in its record.
func finalized(t *testing.T, h http.Handler, c app.Config, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(filepath.Join(c.VideoDir, stored(t, h, content), "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ ContentType string }
	if err := json.Unmarshal(record, &v); err != nil {
		t.Fatal(err)
	}
	return v.ContentType
}

// stored uploads bytes, finalizes them, and returns the id of the video.
func stored(t *testing.T, h http.Handler, content []byte) (videoID string) {
	t.Helper()
	r := httptest.NewRequest("POST", "/uploads", bytes.NewReader(content))
	r.Header.Set("Tus-Resumable", "1.0.0")
	r.Header.Set("Upload-Length", strconv.Itoa(len(content)))
	r.Header.Set("Content-Type", "application/offset+octet-stream")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body := fmt.Sprintf(`{"uploadId":%q,"filename":"x"}`, path.Base(w.Header().Get("Location")))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/uploads/finalize", strings.NewReader(body)))
	var answer struct{ VideoID string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.VideoID == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return answer.VideoID
}
