package monitoring_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// did is what has happened, by which panels can be asked.
type did struct{ video, user string }

// work does what happens in a clinic in a year: videos that play, one that is damaged and one that cannot be written for a while,
// people who may not, and an emergency; no room for an upload, somebody who changes the audit log, and a disk that takes none of it.
func (s *stack) work() did {
	s.t.Helper()
	if slow, err := net.Dial("tcp", s.front); err == nil { // of nginx: a client that takes its time
		s.t.Cleanup(func() { _ = slow.Close() })
		_, _ = slow.Write([]byte("GET / HTTP/1.1\r\n"))
	}
	long := s.send(s.clip("long.mkv", 13, "-c:v", "mpeg4", "-g", "20", "-c:a", "libvorbis"))
	clip := s.clip("short.mp4", 3, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac")
	short := s.send(clip)
	s.stuck(clip)
	damaged := filepath.Join(s.t.TempDir(), "damaged.mp4")
	write(s.t, damaged, "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x10\x00free"+strings.Repeat("\x00", 4096))
	broken := s.send(damaged)
	if _, err := s.api.Create(s.t.Context(), 60<<20); err != nil { // it stays open
		s.t.Fatal(err)
	}
	await(s.t, "the videos are worked on", func() bool {
		s.refused(short)
		return s.status(long) == "transcoded" && s.status(short) == "transcoded" && s.status(broken) == "transcode_failed"
	})
	for range 3 {
		s.play(short)
		time.Sleep(scraped)
	}
	s.crowd()
	s.tamper(short)
	return did{short, "ward-3"}
}

// clip makes a video of so many seconds.
func (s *stack) clip(name string, seconds int, codecs ...string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	args := append([]string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x240:rate=10:duration=%d", seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=duration=%d", seconds)}, codecs...)
	if out, err := exec.CommandContext(s.t.Context(), "ffmpeg", append(args, path)...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return path
}

// stuck sends a video that cannot be written, since a file stands where its folder must: again, until the file is there before the
// worker is.
func (s *stack) stuck(clip string) {
	s.t.Helper()
	for range 20 {
		if os.WriteFile(filepath.Join(s.root, "videos", s.send(clip), "hls"), nil, 0o600) == nil {
			return
		}
	}
	s.t.Fatal("the worker is always there first")
}

// send uploads and finalizes a file, and returns its video.
func (s *stack) send(path string) (id string) {
	s.t.Helper()
	upload, _, err := s.api.Upload(s.t.Context(), path, int64(len(readText(s.t, path))))
	if err == nil {
		id, _, err = s.api.Finalize(s.t.Context(), upload)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *stack) status(id string) string {
	s.t.Helper()
	a := s.ask(http.StatusOK, s.api.Key, "GET", "/videos/"+id, "")
	var v struct{ Status string }
	if err := json.Unmarshal(a, &v); err != nil {
		s.t.Fatal(err)
	}
	return v.Status
}

// ask asks with a key, and wants a status.
func (s *stack) ask(want int, key, method, target, body string) []byte {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.api.Base+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if method == "POST" && body == "" {
		r.Header.Set("Upload-Length", fmt.Sprint(60<<20))
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil || resp.StatusCode != want {
		s.t.Fatalf("%s %s: %d, want %d: %s, %v", method, target, resp.StatusCode, want, &answer, err)
	}
	return answer.Bytes()
}

// play plays a video to its first segment, twice, as a player does.
func (s *stack) play(id string) {
	s.t.Helper()
	ctx := s.t.Context()
	link, err := s.api.Link(ctx, id, "hls/master.m3u8")
	for range 2 {
		if err == nil {
			link, err = s.api.Follow(ctx, link)
		}
	}
	for range 2 {
		if err == nil {
			_, err = s.api.Get(ctx, link)
		}
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// crowd asks more at once than nginx takes from one address.
func (s *stack) crowd() {
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			if resp, err := http.Get(s.api.Base + "/healthz"); err == nil {
				_ = resp.Body.Close()
			}
		})
	}
	all.Wait()
}

// refused asks for what is not given, each for another reason, and for what is given in an emergency only.
func (s *stack) refused(video string) {
	s.t.Helper()
	s.ask(http.StatusUnauthorized, "", "GET", "/videos", "")
	s.ask(http.StatusUnauthorized, "", "GET", "/media/videos/"+video+"/original.mp4?token=1.0", "")
	s.ask(http.StatusForbidden, s.viewer, "POST", "/uploads", "")
	s.ask(http.StatusNotFound, s.api.Key, "GET", "/videos/0193a5c0-7d2e-7000-8000-000000000001", "")
	s.ask(http.StatusInsufficientStorage, s.api.Key, "POST", "/uploads", "")
	s.ask(http.StatusOK, s.uploader, "POST", "/media/sign", emergency(video))
}

// emergency is a request for a link by somebody who has no right to it.
func emergency(video string) string {
	return fmt.Sprintf(`{"videoId":%q,"path":"metadata","emergency":{"reason":"the patient is in surgery now"}}`, video)
}

// tamper changes a letter in the oldest line of what is recorded of uploads, takes the newest of what is recorded of plays away, and
// then lets nobody record an emergency, as a full disk does.
func (s *stack) tamper(video string) {
	s.t.Helper()
	uploads, plays, emergencies := s.auditLog("upload"), s.auditLog("access"), s.auditLog("emergency")
	write(s.t, uploads, strings.Replace(readText(s.t, uploads), "front-desk", "front-disk", 1))
	lines := strings.SplitAfter(readText(s.t, plays), "\n")
	write(s.t, plays, strings.Join(lines[:len(lines)-2], ""))
	s.play(video)
	if err := errors.Join(os.Rename(emergencies, emergencies+".away"), os.Mkdir(emergencies, 0o750)); err != nil {
		s.t.Fatal(err)
	}
	s.ask(http.StatusServiceUnavailable, s.uploader, "POST", "/media/sign", emergency(video))
	if err := errors.Join(os.Remove(emergencies), os.Rename(emergencies+".away", emergencies)); err != nil {
		s.t.Fatal(err)
	}
}

// auditLog is the file of today of a category.
func (s *stack) auditLog(category string) string {
	s.t.Helper()
	logs, err := filepath.Glob(s.root + "/audit/" + category + "-*.log")
	if err != nil || len(logs) == 0 {
		s.t.Fatal(logs, err)
	}
	return logs[len(logs)-1]
}
