package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// arrows are the places between two writes, in the order of writes of docs/design.md.
var arrows = []string{
	"upload/written", "upload/synced", "upload/recorded", "upload/completed", "upload/audited",
	"finalize/recorded", "finalize/marked", "finalize/moved", "finalize/meta", "finalize/audited", "finalize/queued",
	"transcode/claimed", "transcode/first", "transcode/playable", "transcode/sheets", "transcode/storyboard",
	"transcode/encoded", "transcode/segments", "transcode/master", "transcode/meta", "transcode/audited", "transcode/unmarked",
	"stream/audited",
}

// pieceArrows are those of a video in pieces.
var pieceArrows = []string{"transcode/split", "transcode/piece", "transcode/pieceRecorded", "transcode/joined", "transcode/master"}

// The server, or a function, is killed at each arrow and started again; the client goes on where it was. Nothing
// acknowledged is lost, the video comes out whole and once, and the audit chain verifies.
func TestKilledAtEachArrow(t *testing.T) { killAtEach(t, arrows, shortClip(t)) }

// The same of a video in pieces.
func TestKilledAtEachArrowOfPieces(t *testing.T) {
	killAtEach(t, pieceArrows, longClip(t, 15), "PIECE_SECONDS=7")
}

func killAtEach(t *testing.T, arrows []string, clip string, settings ...string) {
	t.Helper()
	content, err := os.ReadFile(clip)
	if err != nil {
		t.Fatal(err)
	}
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for _, arrow := range arrows {
			t.Run(strings.ReplaceAll(arrow, "/", " "), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				p.settings = append(p.settings, settings...)
				first := p.start("PULSEVAULT_FAILPOINT=" + arrow)
				s := &story{client: client{t, first.url}, content: content, over: first.functionDied}
				_ = s.goOn() // up to where it dies
				first.awaitDeath(arrow)
				s.over = nil
				wantNoOrphans(t, p.root)
				p.verifyAudit()
				wantSurvival(s, p)
			})
		}
	})
}

// awaitDeath waits until the server has died at an arrow, or one of the functions has; then all of them are stopped.
func (p *process) awaitDeath(arrow string) {
	p.t.Helper()
	if p.cmd.Args[1] != "emulate" {
		if !p.ended(patience) {
			p.t.Fatalf("the server never came to %s", arrow)
		}
		return
	}
	if !comesTrue(p.functionDied) {
		p.t.Fatalf("no function came to %s", arrow)
	}
	p.stop()
}

// functionDied reports whether a process of a function has ended by itself. Its host goes on, and calls it again by and by.
func (p *process) functionDied() bool {
	return strings.Contains(p.said(), "Error Type: Runtime.ExitError")
}

// wantSurvival starts a host again, goes on with a client's story, and checks everything at its end.
func wantSurvival(s *story, p place) {
	p.t.Helper()
	second := p.start()
	s.url = second.url
	if err := again(s.goOn); err != nil {
		p.t.Fatalf("after the restart: %v", err)
	}
	s.await(s.videoID, "transcoded")
	s.wantOriginal(s.videoID, s.content)
	s.wantPlays(s.videoID)
	s.wantPreview(s.videoID)
	wantTidy(p.t, p.kept)
	second.stop()
	p.verifyAudit()
	for _, action := range []string{"upload.completed", "video.finalized", "video.transcoded"} {
		wantOnce(p.t, p.kept, action)
	}
}

// The server is killed within finalize, and the client never comes back. The video comes out all the same, with its entry
// in the audit log, also where transcoding is switched on only later.
func TestFinalizeGoesOnWithoutItsClient(t *testing.T) {
	content, err := os.ReadFile(shortClip(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, arrow := range arrows {
		for _, enabled := range []string{"true", "false"} {
			if !strings.HasPrefix(arrow, "finalize/") {
				continue
			}
			t.Run(strings.ReplaceAll(arrow, "/", " ")+" transcoding "+enabled, func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				first := start(t, "serve", root, "PULSEVAULT_FAILPOINT="+arrow, "TRANSCODE_ENABLED="+enabled)
				s := &story{client: client{t, first.url}, content: content}
				_ = s.goOn()
				if !first.ended(patience) {
					t.Fatalf("the server never came to %s", arrow)
				}
				second := start(t, "serve", root)
				s.url = second.url
				id := recordedVideo(t, root)
				awaitFile(t, filepath.Join(root, "videos", id, "meta.json"))
				s.await(id, "transcoded")
				s.wantOriginal(id, content)
				wantTidy(t, root)
				second.stop()
				verifyAudit(t, root)
				wantOnce(t, root, "video.finalized")
				wantOnce(t, root, "video.transcoded")
			})
		}
	}
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	there := func() bool {
		_, err := os.Stat(path)
		return err == nil
	}
	if !comesTrue(there) {
		t.Fatalf("%s does not come", filepath.Base(path))
	}
}

// recordedVideo reads from the one upload's record which video it is to become.
func recordedVideo(t *testing.T, root string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "uploads", "[0-9a-f]*.json"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("records of uploads: %v, %v", paths, err)
	}
	data, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	var record struct{ VideoID string }
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	return record.VideoID
}

// story is a client that goes on after each failure with what it was told so far.
type story struct {
	client
	content      []byte
	location     string
	acknowledged int
	videoID      string
	over         func() bool // whether there is nothing to wait for any more; nil if there always is
}

// goOn does what is left to do, up to the first failure.
func (s *story) goOn() (err error) {
	if s.location == "" {
		if s.location, err = s.create(len(s.content)); err != nil {
			return err
		}
	}
	if s.videoID == "" {
		if err = s.send(len(s.content)/3 + 1); err != nil {
			return err
		}
	}
	id, err := s.finalize(s.location)
	if err != nil {
		return err
	}
	if s.videoID != "" && id != s.videoID {
		s.t.Errorf("finalize answers %s, and had answered %s", id, s.videoID)
	}
	s.videoID = id
	return s.watch()
}

// send brings the rest of the bytes to the server, in pieces.
func (s *story) send(piece int) error {
	offset, err := s.resume(s.location, s.content, piece)
	if offset > 0 && offset < s.acknowledged {
		s.t.Errorf("the server knows of %d bytes only; it had acknowledged %d", offset, s.acknowledged)
	}
	s.acknowledged = max(offset, s.acknowledged)
	return err
}

// watch asks for the video until it is transcoded, or the story is over: the server may die while it works, or as it serves.
func (s *story) watch() error {
	for range 100 {
		if s.over != nil && s.over() {
			return nil
		}
		a, err := s.try("POST", "/media/sign", strings.NewReader(`{"videoId":"`+s.videoID+`","path":"metadata"}`))
		if err != nil {
			return err
		}
		var link struct{ URL string }
		if err := json.Unmarshal(a.body, &link); err != nil {
			return err
		}
		meta, err := s.try("GET", link.URL, nil)
		if err != nil || bytes.Contains(meta.body, []byte(`"transcoded"`)) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// wantTidy fails the test if work in progress is left behind.
func wantTidy(t *testing.T, root string) {
	t.Helper()
	var left []string
	look := func() {
		left = nil
		for _, pattern := range []string{"pending/*", "videos/*/.*", "uploads/*", "open/*", "tails/*"} {
			paths, _ := filepath.Glob(filepath.Join(root, pattern))
			for _, path := range paths {
				// An upload's record stays as long as its video; the sweep takes an hour over half-written files, but who
				// locks a video's folder does not.
				halfWritten := strings.HasPrefix(filepath.Base(path), ".tmp-") && !strings.HasPrefix(pattern, "videos")
				if !strings.HasSuffix(path, ".json") && !halfWritten {
					left = append(left, path)
				}
			}
		}
	}
	if !comesTrueWithin(beforeTheSweep, func() bool { look(); return len(left) == 0 }) {
		t.Errorf("left behind: %v", left)
	}
}

// wantOnce fails the test unless the audit log tells of exactly one event of a kind, be it in two entries.
func wantOnce(t *testing.T, root, action string) {
	t.Helper()
	events := map[string]bool{}
	eachEntry(t, root, func(eventID, of string) {
		if of == action {
			events[eventID] = true
		}
	})
	if len(events) != 1 {
		t.Errorf("the audit log tells of %d times %s", len(events), action)
	}
}

// eachEntry tells of each entry of the audit log.
func eachEntry(t *testing.T, root string, tell func(eventID, action string)) {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(root, "audit", "*.log"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var e struct {
				EventID string
				Event   struct{ Action string }
			}
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			tell(e.EventID, e.Event.Action)
		}
	}
}

// Kills at moments that nobody chose.
func TestKilledAtAnyMoment(t *testing.T) {
	content, err := os.ReadFile(shortClip(t))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	s := &story{client: client{t, ""}, content: content}
	for _, ms := range []int{20, 60, 120, 250, 400, 700, 1100} {
		server := start(t, "serve", root)
		s.url = server.url
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.goOn()
		}()
		time.Sleep(time.Duration(ms) * time.Millisecond)
		server.kill()
		<-done
		wantNoOrphans(t, root)
		verifyAudit(t, root)
	}
	server := start(t, "serve", root)
	s.url = server.url
	if err := s.goOn(); err != nil {
		t.Fatal(err)
	}
	s.await(s.videoID, "transcoded")
	s.wantOriginal(s.videoID, content)
	s.wantPlays(s.videoID)
	removeUnheard(t, root, path.Base(s.location))
	wantTidy(t, root)
	wantOnce(t, root, "video.finalized")
}

// removeUnheard removes the uploads that the client was never told of, because the server was killed while it created them.
// They have no bytes; the sweep removes them too, but only after UPLOAD_EXPIRY.
func removeUnheard(t *testing.T, root, heard string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "uploads", "[0-9a-f]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		if strings.HasPrefix(filepath.Base(p), heard) {
			continue
		}
		if info, err := os.Stat(p); err != nil || filepath.Ext(p) == "" && info.Size() > 0 {
			t.Errorf("an upload that nobody was told of has bytes: %s, %v", p, err)
		}
		if err := os.Remove(p); err != nil {
			t.Error(err)
		}
	}
}
