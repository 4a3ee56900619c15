package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deleteArrows are the places between two writes of a deletion.
var deleteArrows = []string{
	"delete/intended", "delete/audited", "delete/hidden", "delete/unmarked", "delete/removed", "delete/forgotten", "delete/unlisted",
}

// The server, or a function, is killed at each arrow of a deletion, and the client never comes back. The video goes all the
// same, once, and by whom stays on record; its links are dead, and its upload makes no other.
func TestKilledAtEachArrowOfADeletion(t *testing.T) {
	content, err := os.ReadFile(shortClip(t))
	if err != nil {
		t.Fatal(err)
	}
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, arrow := range deleteArrows {
			t.Run(strings.ReplaceAll(arrow, "/", " "), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				first := p.start("PULSEVAULT_FAILPOINT=" + arrow)
				s := &story{client: client{t, first.url}, content: content}
				if err := s.goOn(); err != nil {
					t.Fatal(err)
				}
				link := s.sign(s.videoID, "original.mp4")
				_, _ = s.try("DELETE", "/videos/"+s.videoID, nil)
				first.awaitDeath(arrow)
				second := p.start()
				s.url = second.url
				s.wantDeleted(link)
				wantNothingOf(t, p, s.videoID)
				if id, err := s.finalize(s.location); err == nil || !strings.Contains(err.Error(), "video_deleted") {
					t.Errorf("its upload makes %s, %v", id, err)
				}
				second.stop()
				p.verifyAudit()
				wantOnce(t, p.kept, "video.deleted")
			})
		}
	})
}

// wantDeleted fails the test unless the video goes, and stays gone for everybody.
func (s *story) wantDeleted(link string) {
	s.t.Helper()
	gone := func(method, target string) bool {
		a, err := s.try(method, target, nil)
		return err == nil && a.status == http.StatusNotFound
	}
	for range 900 {
		if gone("GET", "/videos/"+s.videoID) && gone("GET", link) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !gone("GET", "/videos/"+s.videoID) || !gone("GET", link) || !gone("DELETE", "/videos/"+s.videoID) {
		s.t.Error("the video is still there")
	}
}

// wantNothingOf fails the test unless the sweep removes what was kept of a video.
func wantNothingOf(t *testing.T, p place, id string) {
	t.Helper()
	var left []string
	for range 900 {
		left = nil
		for _, pattern := range []string{"videos/" + id + "/*", "videos/.deleted-" + id, "pending/" + id} {
			paths, _ := filepath.Glob(filepath.Join(p.kept, pattern))
			left = append(left, paths...)
		}
		intent, _ := os.ReadFile(filepath.Join(p.kept, "pending", "deletions", id))
		if len(left) == 0 && strings.Contains(string(intent), `"goneAt"`) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left behind: %v", left)
}
