package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/hls"
	"pulsevault/pkg/storyboard"
)

// client uses one server as a phone and a player do.
type client struct {
	t   *testing.T
	url string
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// try sends a request; the error is that of a connection.
func (c client) try(method, target string, body io.Reader, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+target, body)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data := bytes.NewBuffer(make([]byte, 0, max(resp.ContentLength, 0)+bytes.MinRead)) // a buffer that grows takes the race detector much time
	_, err = data.ReadFrom(resp.Body)
	return answer{resp.StatusCode, resp.Header, data.Bytes()}, err
}

func (c client) do(want int, method, target string, body io.Reader, headers ...string) answer {
	c.t.Helper()
	a, err := c.try(method, target, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.status != want {
		c.t.Fatalf("%s %s: %d, want %d: %s", method, target, a.status, want, a.body)
	}
	return a
}

// create makes an upload and returns its address.
func (c client) create(size int) (location string, err error) {
	a, err := c.try("POST", "/uploads", nil, "Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(size))
	if err == nil && a.status != http.StatusCreated {
		err = fmt.Errorf("create: %d %s", a.status, a.body)
	}
	return a.header.Get("Location"), err
}

// offset asks how much of an upload the server has.
func (c client) offset(location string) (offset int, err error) {
	a, err := c.try("HEAD", location, nil, "Tus-Resumable", "1.0.0")
	if err != nil {
		return 0, err
	}
	if offset, err = strconv.Atoi(a.header.Get("Upload-Offset")); err != nil || a.status != http.StatusOK {
		return 0, fmt.Errorf("HEAD: %d without an offset", a.status)
	}
	return offset, nil
}

// resume asks for the offset and sends the rest in pieces.
func (c client) resume(location string, content []byte, piece int) (offset int, err error) {
	if offset, err = c.offset(location); err != nil {
		return 0, err
	}
	for offset < len(content) {
		end := min(offset+piece, len(content))
		a, err := c.try("PATCH", location, bytes.NewReader(content[offset:end]), "Tus-Resumable", "1.0.0",
			"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset))
		if err != nil {
			return offset, err
		}
		if a.status != http.StatusNoContent {
			return offset, fmt.Errorf("PATCH: %d %s", a.status, a.body)
		}
		offset = end
	}
	return offset, nil
}

func (c client) finalize(location string) (videoID string, err error) {
	body := fmt.Sprintf(`{"uploadId":%q,"filename":"clip.mp4","userId":"test"}`, filepath.Base(location))
	a, err := c.try("POST", "/uploads/finalize", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	var v struct{ VideoID string }
	if err := json.Unmarshal(a.body, &v); err != nil || a.status != http.StatusOK {
		return "", fmt.Errorf("finalize: %d %s", a.status, a.body)
	}
	return v.VideoID, nil
}

// again does something as often as it is answered, with 503, that it is to be tried again: on a busy machine Redis may stall.
func again(do func() error) (err error) {
	for range 100 {
		if err = do(); err == nil || !strings.Contains(err.Error(), ": 503 ") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// resumeInTime resumes as a client does that is told to try again.
func (c client) resumeInTime(location string, content []byte, piece int) error {
	return again(func() error {
		_, err := c.resume(location, content, piece)
		return err
	})
}

// finalizeInTime finalizes as a client does that is told to try again.
func (c client) finalizeInTime(location string) (videoID string, err error) {
	err = again(func() error {
		videoID, err = c.finalize(location)
		return err
	})
	return videoID, err
}

// send uploads and finalizes a file, and returns its video.
func (c client) send(path string) (videoID string) {
	c.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	location, err := c.create(len(content))
	if err == nil {
		err = c.resumeInTime(location, content, 1<<20)
	}
	if err == nil {
		videoID, err = c.finalizeInTime(location)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return videoID
}

func (c client) sign(videoID, path string) (link string) {
	c.t.Helper()
	a := c.do(200, "POST", "/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":%q,"path":%q}`, videoID, path)))
	var v struct{ URL string }
	if err := json.Unmarshal(a.body, &v); err != nil {
		c.t.Fatal(err)
	}
	return v.URL
}

// status is what the video's metadata says.
func (c client) status(videoID string) string {
	c.t.Helper()
	var v struct{ Status string }
	a := c.do(200, "GET", c.sign(videoID, "metadata"), nil)
	if err := json.Unmarshal(a.body, &v); err != nil {
		c.t.Fatal(err)
	}
	return v.Status
}

// await waits until the video has a status that is final.
func (c client) await(videoID, want string) {
	c.t.Helper()
	status := ""
	comesTrue(func() bool {
		status = c.status(videoID)
		return status == want || status == "transcode_failed" || status == "transcoded"
	})
	if status != want {
		c.t.Fatalf("the video is %s, want %s", status, want)
	}
}

// wantOriginal compares the stored original with what was sent.
func (c client) wantOriginal(videoID string, content []byte) {
	c.t.Helper()
	link := c.sign(videoID, "original.mp4")
	for from := 0; from < len(content); from += 4 << 20 { // no more than a function may answer with
		to := min(from+4<<20, len(content))
		a := c.do(206, "GET", link, nil, "Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
		if !bytes.Equal(a.body, content[from:to]) || !strings.HasSuffix(a.header.Get("Content-Range"), fmt.Sprintf("/%d", len(content))) {
			c.t.Errorf("bytes %d to %d of the original are not the sent ones: %s", from, to, a.header.Get("Content-Range"))
		}
	}
	sum := sha256.Sum256(content)
	if meta := c.do(200, "GET", c.sign(videoID, "metadata"), nil); !bytes.Contains(meta.body, []byte(hex.EncodeToString(sum[:]))) {
		c.t.Errorf("the record has another checksum: %s", meta.body)
	}
}

// wantPlays plays the whole HLS over HTTP; a player has nothing to complain about, and no rule is broken.
func (c client) wantPlays(videoID string) {
	c.t.Helper()
	link := c.url + c.sign(videoID, "hls/master.m3u8")
	cmd := exec.CommandContext(c.t.Context(), "ffmpeg", "-nostdin", "-hide_banner", "-v", "warning",
		"-i", link, "-map", "0", "-f", "null", "-")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		c.t.Errorf("ffmpeg complains: %v\n%s", err, out)
	}
	source, err := hls.NewSource(link)
	if err != nil {
		c.t.Fatal(err)
	}
	report, err := hls.Lint(c.t.Context(), source)
	if err != nil || !report.OK() {
		c.t.Errorf("lint: %v, %v: %+v", err, report.Failed(), report.Results)
	}
}

// wantPreview fetches the poster, the storyboard, and by the links in that every sheet, as a page does: they are pictures, and
// each cue shows a part of one.
func (c client) wantPreview(videoID string) {
	c.t.Helper()
	if poster := c.do(200, "GET", c.sign(videoID, "poster.jpg"), nil); poster.header.Get("Content-Type") != "image/jpeg" {
		c.t.Errorf("the poster is %s", poster.header.Get("Content-Type"))
	} else if _, err := jpeg.Decode(bytes.NewReader(poster.body)); err != nil {
		c.t.Errorf("the poster: %v", err)
	}
	link := c.sign(videoID, "storyboard.vtt")
	cues, err := storyboard.Unmarshal(c.do(200, "GET", link, nil).body)
	if err != nil || len(cues) == 0 {
		c.t.Fatalf("storyboard: %d cues, %v", len(cues), err)
	}
	base, err := url.Parse(c.url + link)
	if err != nil {
		c.t.Fatal(err)
	}
	sheets := map[string]image.Rectangle{}
	for _, cue := range cues {
		target, err := base.Parse(cue.URI)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, known := sheets[cue.URI]; !known {
			answer := client{c.t, ""}.do(200, "GET", target.String(), nil)
			sheet, err := jpeg.DecodeConfig(bytes.NewReader(answer.body))
			if err != nil || answer.header.Get("Content-Type") != "image/jpeg" {
				c.t.Errorf("%s: %v, %s", cue.URI, err, answer.header.Get("Content-Type"))
			}
			sheets[cue.URI] = image.Rect(0, 0, sheet.Width, sheet.Height)
		}
		if part := image.Rect(cue.X, cue.Y, cue.X+cue.Width, cue.Y+cue.Height); !part.In(sheets[cue.URI]) {
			c.t.Errorf("%v is no part of %v", part, sheets[cue.URI])
		}
	}
}

// clip makes a video with ffmpeg and returns its path.
func clip(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append(append([]string{"-nostdin", "-v", "error", "-y"}, args...), path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", name, err, out)
	}
	return path
}

// shortClip is small enough to be transcoded in a moment.
func shortClip(t *testing.T) string {
	t.Helper()
	return clip(t, "short.mp4", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=3", "-f", "lavfi", "-i", "sine=duration=3",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest")
}

func verifyAudit(t *testing.T, root string, settings ...string) {
	t.Helper()
	if code, out := run(t, root, settings, "audit", "verify"); code != 0 {
		t.Errorf("audit verify: exit status %d\n%s", code, out)
	}
}

// series returns the value of a series in the server's metrics, if it is there.
func (c client) series(name string) (value float64, found bool) {
	c.t.Helper()
	for line := range bytes.Lines(c.do(200, "GET", "/metrics", nil).body) {
		if text, ok := strings.CutPrefix(string(line), name+" "); ok {
			value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				c.t.Fatal(err)
			}
			return value, true
		}
	}
	return 0, false
}

// shows reports whether a series is there and has a value.
func (c client) shows(name string, want float64) bool {
	c.t.Helper()
	value, found := c.series(name)
	return found && value == want
}

// metric returns the value of a series that must be there.
func (c client) metric(name string) float64 {
	c.t.Helper()
	value, found := c.series(name)
	if !found {
		c.t.Fatalf("no metric %s", name)
	}
	return value
}

// count returns the value of a counter that is not there before it counts.
func (c client) count(name string) float64 {
	c.t.Helper()
	value, _ := c.series(name)
	return value
}
