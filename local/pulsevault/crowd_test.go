package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	crowdSize  = 200 // uploads
	crowdClips = 20  // of them are videos that can be played; to transcode all would take minutes
)

// Two servers and two workers on one directory and one Redis, and two hundred uploads at once: most go on through the other
// server, many after a connection that broke, and are finalized by both at once. Each is one video, with its own bytes; the
// audit log and the counters tell of each once.
func TestManyAtOnceThroughTwoServers(t *testing.T) {
	settings := redisSettings(t)
	root := t.TempDir()
	both := []client{
		{t, start(t, "serve", root, append(settings, "WORKER_CONCURRENCY=0")...).url},
		{t, start(t, "serve", root, append(settings, "WORKER_CONCURRENCY=0")...).url},
	}
	for range 2 {
		start(t, "worker", root, append(settings, "FFMPEG_THREADS=1", "RENDITIONS=240p")...)
	}
	playable, err := os.ReadFile(clip(t, "tiny.mp4", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10:duration=1",
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"))
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, crowdSize)
	turns := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range ids {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			content := padded([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"), i)
			if i%(crowdSize/crowdClips) == 0 {
				content = padded(playable, i)
			}
			var err error
			if ids[i], err = throughBoth(both[i%2], both[(i+1)%2], i, content); err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, id := range ids {
		if want := "transcoded"; i%(crowdSize/crowdClips) == 0 {
			both[i%2].await(id, want)
		} else {
			both[i%2].await(id, "transcode_failed")
		}
	}
	both[0].wantPlays(ids[0])
	wantEachOnce(t, root, settings, ids)
	wantCounted(t, both)
}

// padded adds a box of bytes that are like no other's to an MP4.
func padded(mp4 []byte, seed int) []byte {
	size := 100_000 + seed*1000
	box := append(bytes.Clone(mp4), byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
	box = append(box, "free"...)
	noise := make([]byte, size-8)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(noise) // never fails
	return append(box, noise...)
}

// throughBoth sends a part by one server, of every third upload over a connection that breaks, and the rest by the other,
// finalizes by one or both of them, and compares what is streamed from each.
func throughBoth(one, other client, i int, content []byte) (videoID string, err error) {
	location, err := one.create(len(content))
	if err != nil {
		return "", err
	}
	part := content[:len(content)*(1+i%3)/4]
	if i%3 == 0 {
		if err := one.breakOff(location, part); err != nil {
			return "", err
		}
	} else if err := one.resumeInTime(location, part, 40_000); err != nil {
		return "", err
	}
	if err := other.insist(location, content, 1<<20); err != nil {
		return "", err
	}
	var wg sync.WaitGroup
	var answers [2]string
	var errs [2]error
	for n, c := range []client{other, one}[:1+i%2] {
		wg.Go(func() { answers[n], errs[n] = c.finalizeInTime(location) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return "", err
	}
	if i%2 == 1 && answers[0] != answers[1] {
		return "", fmt.Errorf("finalized as %s and %s", answers[0], answers[1])
	}
	return answers[0], errors.Join(one.compare(answers[0], content), other.compare(answers[0], content))
}

// insist sends the rest, as clients do: where the server says that somebody else was there, such as what a broken connection
// still brought, or closes the connection upon that before all of the piece is sent, it asks for the offset again.
func (c client) insist(location string, content []byte, piece int) (err error) {
	for range 20 {
		err = c.resumeInTime(location, content, piece)
		closed := new(url.Error)
		if err == nil || !errors.As(err, &closed) && !strings.HasPrefix(err.Error(), "PATCH: 409") && !strings.HasPrefix(err.Error(), "PATCH: 423") {
			break
		}
	}
	return err
}

// breakOff sends a piece that breaks off after half of it. What the server has of it then is for HEAD to tell.
func (c client) breakOff(location string, piece []byte) error {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	body := io.MultiReader(bytes.NewReader(piece[:len(piece)/2]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	}))
	r, err := http.NewRequestWithContext(ctx, "PATCH", c.url+location, body)
	if err != nil {
		return err
	}
	r.ContentLength = int64(len(piece))
	for name, value := range map[string]string{
		"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream",
	} {
		r.Header.Set(name, value)
	}
	own := &http.Transport{} // or whoever asks next may be given the broken connection
	defer own.CloseIdleConnections()
	if resp, err := own.RoundTrip(r); err == nil {
		_ = resp.Body.Close()
		return fmt.Errorf("a piece that broke off is answered with %d", resp.StatusCode)
	}
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// link signs a link, as sign does, for use beside the test's own goroutine.
func (c client) link(videoID, path string) (string, error) {
	a, err := c.try("POST", "/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":%q,"path":%q}`, videoID, path)))
	var v struct{ URL string }
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("sign: %d %s", a.status, a.body)
	}
	if err == nil {
		err = json.Unmarshal(a.body, &v)
	}
	return v.URL, err
}

// stream signs a link and gets what it points at.
func (c client) stream(videoID, path string) ([]byte, error) {
	link, err := c.link(videoID, path)
	if err != nil {
		return nil, err
	}
	a, err := c.try("GET", link, nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, a.status, a.body)
	}
	return a.body, err
}

// compare says how what is streamed of a video differs from what was sent.
func (c client) compare(videoID string, content []byte) error {
	original, err := c.stream(videoID, "original.mp4")
	if err != nil {
		return err
	}
	meta, err := c.stream(videoID, "metadata")
	sum := sha256.Sum256(content)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(original, content):
		return fmt.Errorf("the original has %d bytes that are not the %d sent ones", len(original), len(content))
	case !bytes.Contains(meta, []byte(hex.EncodeToString(sum[:]))):
		return fmt.Errorf("the record has another checksum: %s", meta)
	}
	return nil
}

// wantEachOnce looks at what is on disk and in the audit log, in which nothing stands twice where nothing has crashed.
func wantEachOnce(t *testing.T, root string, settings, ids []string) {
	t.Helper()
	wantTidy(t, root)
	verifyAudit(t, root, settings...)
	known := map[string]bool{}
	for _, id := range ids {
		known[id] = true
	}
	folders, err := os.ReadDir(filepath.Join(root, "videos"))
	if err != nil || len(known) != crowdSize || len(folders) != crowdSize {
		t.Errorf("%d uploads are %d videos in %d folders, %v", crowdSize, len(known), len(folders), err)
	}
	entries := auditEntries(t, root)
	for action, want := range map[string]int{
		"upload.completed": crowdSize, "video.finalized": crowdSize, "video.transcoded": crowdClips, "video.transcode_failed": crowdSize - crowdClips,
	} {
		if entries[action] != want {
			t.Errorf("the audit log has %d entries of %s, want %d", entries[action], action, want)
		}
	}
}

// auditEntries counts the entries of the audit log by their action.
func auditEntries(t *testing.T, root string) map[string]int {
	t.Helper()
	entries := map[string]int{}
	eachEntry(t, root, func(_, action string) { entries[action]++ })
	return entries
}

// wantCounted looks at the counters of both servers, which add up, and at the totals, which each shows alike.
func wantCounted(t *testing.T, both []client) {
	t.Helper()
	for _, name := range []string{"pulsevault_uploads_total", "pulsevault_finalized_total", "pulsevault_upload_size_bytes_count"} {
		if one, other := both[0].metric(name), both[1].metric(name); one+other != crowdSize || one == 0 || other == 0 {
			t.Errorf("%s is %v and %v, want %d together", name, one, other, crowdSize)
		}
	}
	for name, want := range map[string]float64{
		"pulsevault_all_uploads_completed_total": crowdSize, "pulsevault_all_transcodes_success_total": crowdClips,
		"pulsevault_all_transcodes_failed_total":                     crowdSize - crowdClips,
		`pulsevault_queue_tasks{queue="transcode",state="archived"}`: crowdSize - crowdClips,
		`pulsevault_queue_tasks{queue="transcode",state="pending"}`:  0,
	} {
		for n, c := range both {
			if !comesTrue(func() bool { return c.shows(name, want) }) { // a task ends after the video's record says so
				t.Errorf("%s is %s of server %d, want %v", name, strconv.FormatFloat(c.metric(name), 'g', -1, 64), n+1, want)
			}
		}
	}
}
