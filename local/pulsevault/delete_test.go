package main_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	comesTrue(func() bool { return gone("GET", "/videos/"+s.videoID) && gone("GET", link) })
	if !gone("GET", "/videos/"+s.videoID) || !gone("GET", link) || !gone("DELETE", "/videos/"+s.videoID) {
		s.t.Error("the video is still there")
	}
}

// wantNothingOf fails the test unless the sweep removes what was kept of a video.
func wantNothingOf(t *testing.T, p place, id string) {
	t.Helper()
	var left []string
	nothing := func() bool {
		left = nil
		for _, pattern := range []string{"videos/" + id + "/*", "videos/.deleted-" + id, "pending/" + id} {
			paths, _ := filepath.Glob(filepath.Join(p.kept, pattern))
			left = append(left, paths...)
		}
		intent, _ := os.ReadFile(filepath.Join(p.kept, "pending", "deletions", id))
		return len(left) == 0 && strings.Contains(string(intent), `"goneAt"`)
	}
	if !comesTrue(nothing) {
		t.Errorf("left behind: %v", left)
	}
}

// A video is deleted while a worker is at it, whole or in pieces. The worker lets go, publishes nothing, and leaves nothing.
func TestDeletedWhileItIsTranscoded(t *testing.T) {
	content, err := os.ReadFile(longClip(t, 60)) // so that it is deleted before it is done
	if err != nil {
		t.Fatal(err)
	}
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, pieces := range []string{"0", "7"} {
			t.Run("pieces "+pieces, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				host := p.start("PIECE_SECONDS=" + pieces)
				s := &story{client: client{t, host.url}, content: content}
				var err error // of this test: others go on beside it
				if s.location, err = s.create(len(content)); err == nil {
					err = s.send(len(content)/3 + 1)
				}
				if err != nil {
					t.Fatal(err)
				}
				if s.videoID, err = s.finalize(s.location); err != nil {
					t.Fatal(err)
				}
				link := s.sign(s.videoID, "original.mp4")
				s.await(s.videoID, "transcoding")
				s.do(http.StatusNoContent, "DELETE", "/videos/"+s.videoID, nil)
				s.wantDeleted(link)
				wantNothingOf(t, p, s.videoID)
				host.stop()
				wantNothingOf(t, p, s.videoID)
				wantNoOrphans(t, p.root)
				p.verifyAudit()
				eachEntry(t, p.kept, func(_, action string) {
					if action == "video.transcoded" || action == "video.transcode_failed" {
						t.Errorf("the audit log tells of %s", action)
					}
				})
			})
		}
	})
}
