package stream_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/storyboard"
	"pulsevault/pkg/vault"
)

const storyboardText = `WEBVTT

00:00:00.000 --> 00:00:02.000
storyboard_000.jpg#xywh=0,0,160,90

00:00:02.000 --> 00:00:04.000
storyboard_000.jpg#xywh=160,0,160,90

00:00:04.000 --> 00:00:05.000
storyboard_001.jpg#xywh=0,0,160,90
`

// draw puts a poster and a storyboard into the world's folder.
func (w *world) draw() {
	w.t.Helper()
	for name, content := range map[string]string{
		"poster.jpg": "poster", "storyboard.vtt": storyboardText, "storyboard_000.jpg": "first", "storyboard_001.jpg": "second",
	} {
		if err := os.WriteFile(filepath.Join(w.folder, name), []byte(content), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

// Whoever may open the storyboard gets to every sheet, for as long as the video plays, and to nothing else.
func TestStoryboardIsSignedOnTheWayOut(t *testing.T) {
	w := newWorld(t)
	w.draw()
	if _, err := w.videos.Update(t.Context(), w.id, func(v *vault.Video) error { v.Duration = 7200; return nil }); err != nil {
		t.Fatal(err)
	}
	link := w.link("storyboard.vtt")
	resp, text := w.get("GET", link)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/vtt; charset=utf-8" || resp.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	cues, err := storyboard.Unmarshal([]byte(text))
	if err != nil || len(cues) != 3 {
		t.Fatalf("%v in %s", err, text)
	}
	for i, content := range []string{"first", "first", "second"} {
		resp, body := w.get("GET", "/media/videos/"+string(w.id)+"/"+cues[i].URI)
		if resp.StatusCode != 200 || body != content || resp.Header.Get("Content-Type") != "image/jpeg" || resp.Header.Get("Cache-Control") != "private, max-age=86400, immutable" {
			t.Errorf("%s: %d %q %v", cues[i].URI, resp.StatusCode, body, resp.Header)
		}
		_, token, _ := strings.Cut(cues[i].URI, "?token=")
		var unix int64
		if _, err := fmt.Sscanf(token, "%d.", &unix); err != nil || time.Until(time.Unix(unix, 0)) < 2*time.Hour {
			t.Errorf("a sheet's token ends in %v, before the video does (%v)", time.Until(time.Unix(unix, 0)), err)
		}
		cues[i].URI, _, _ = strings.Cut(cues[i].URI, "?")
	}
	if plain, err := storyboard.Marshal(cues); err != nil || string(plain) != storyboardText {
		t.Errorf("more than URIs was changed: %v\n%s", err, text)
	}
	if resp, body := w.get("GET", link, "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != 304 || body != "" {
		t.Errorf("asked again: %d %q", resp.StatusCode, body)
	}
	if got := strings.Join(w.audited.paths(), " "); got != "storyboard.vtt storyboard_000.jpg storyboard_000.jpg storyboard_001.jpg storyboard.vtt" {
		t.Errorf("audited %s", got)
	}
}

func TestStoryboardRefuses(t *testing.T) {
	w := newWorld(t)
	if resp, body := w.get("GET", w.link("storyboard.vtt")); resp.StatusCode != 404 || !strings.Contains(body, `"media_not_found"`) {
		t.Errorf("not there yet: %d %s", resp.StatusCode, body)
	}
	w.draw()
	plain, token, _ := strings.Cut(w.link("storyboard.vtt"), "?token=")
	for name, target := range map[string]string{
		"no token": plain, "that of another path": strings.Replace(plain, "storyboard.vtt", "poster.jpg", 1) + "?token=" + token,
		"that of the storyboard": strings.Replace(plain, ".vtt", "_000.jpg", 1) + "?token=" + token,
	} {
		if resp, body := w.get("GET", target); resp.StatusCode != 401 || !strings.Contains(body, `"invalid_token"`) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	w.audited.down = true
	for _, path := range []string{"storyboard.vtt", "poster.jpg"} {
		if resp, body := w.get("GET", w.link(path)); resp.StatusCode != 503 {
			t.Errorf("%s without an audit log: %d %s", path, resp.StatusCode, body)
		}
	}
}

// One that was damaged is served to nobody, and its bytes stand in no answer.
func TestDamagedStoryboard(t *testing.T) {
	w := newWorld(t)
	w.draw()
	if err := os.WriteFile(filepath.Join(w.folder, "storyboard.vtt"), []byte(storyboardText[:60]), 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, body := w.get("GET", w.link("storyboard.vtt")); resp.StatusCode != 500 || strings.Contains(body, "WEBVTT") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestRenditionsTellOfPosterAndStoryboard(t *testing.T) {
	w := newWorld(t)
	if _, body := w.get("GET", w.link("renditions")); !strings.Contains(body, `"poster":null,"storyboard":null`) {
		t.Errorf("before: %s", body)
	}
	w.draw()
	if _, body := w.get("GET", w.link("renditions")); !strings.Contains(body, `"poster":"poster.jpg","storyboard":"storyboard.vtt"`) {
		t.Errorf("then: %s", body)
	}
}

// In a bucket, a storyboard names sheets where they are, each by one link.
func TestBucketStoryboardNamesSheetsWhereTheyAre(t *testing.T) {
	w := newBucketWorld(t, (*world).draw)
	resp, text := w.get("GET", w.link("storyboard.vtt"))
	cues, err := storyboard.Unmarshal([]byte(text))
	if err != nil || len(cues) != 3 || resp.StatusCode != 200 {
		t.Fatalf("%s, %v in %s", resp.Status, err, text)
	}
	if cues[0].URI != cues[1].URI || strings.Contains(text, "token=") || fetch(t, w, cues[0].URI) != "first" || fetch(t, w, cues[2].URI) != "second" {
		t.Errorf("signed as %s", text)
	}
	if resp, body := w.get("GET", w.link("poster.jpg")); resp.StatusCode != 200 || body != "poster" {
		t.Errorf("poster: %s %s", resp.Status, body)
	}
	if got := strings.Join(w.audited.paths(), " "); got != "storyboard.vtt poster.jpg" {
		t.Errorf("audited %s", got)
	}
}
