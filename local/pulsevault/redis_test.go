package main_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/redisdb/redistest"
)

const (
	faultLasts = 10 * time.Second
	// What needs Redis is to be refused within two seconds. On a machine that does much else an answer may take longer; one
	// that waits for Redis to come back, or for a lock's 15 seconds, takes longer than this.
	refusalTimeout = 10 * time.Second
)

// Redis is away, hangs or is slow for ten seconds in the middle of everything. What needs it is refused, streaming goes on,
// nothing is lost, nobody has to be started again, and no two writers get into one upload.
func TestRedisFaults(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("NOT TESTED: no redis-server here, which is to fail: make deps-test installs it")
	}
	for name, fault := range map[string]struct {
		begin, end func(*redistest.Server, *proxy)
	}{
		"away, and then empty": {
			func(s *redistest.Server, _ *proxy) { s.Stop() },
			func(s *redistest.Server, _ *proxy) { s.Restart() },
		},
		"hangs": {
			func(_ *redistest.Server, p *proxy) { p.hold() },
			func(_ *redistest.Server, p *proxy) { p.pass() },
		},
		"slow": {
			func(_ *redistest.Server, p *proxy) { p.slow(3 * time.Second) },
			func(_ *redistest.Server, p *proxy) { p.pass() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newFaultyWorld(t, server)
			w.prepare()
			w.inTheMiddle(func() {
				fault.begin(server, w.redis)
				w.wantRefusals()
				fault.end(server, w.redis)
			})
			w.wantEverything()
		})
	}
}

// faultyWorld is two servers and a worker that reach their Redis through a proxy.
type faultyWorld struct {
	*testing.T
	root     string
	settings []string
	redis    *proxy
	both     []client

	watched  string            // a video that is streamed all the time
	bytes    []byte            // of it
	complete string            // an upload that is to be finalized meanwhile
	partial  string            // an upload that is to be added to meanwhile
	queued   map[string][]byte // videos that wait for a worker, and their bytes
	contest  *contest
}

func newFaultyWorld(t *testing.T, server *redistest.Server) *faultyWorld {
	w := &faultyWorld{T: t, root: t.TempDir(), redis: startProxy(t, server.Options().Addr), queued: map[string][]byte{}}
	name, port, _ := strings.Cut(w.redis.addr, ":")
	w.settings = []string{"REDIS_HOST=" + name, "REDIS_PORT=" + port}
	for range 2 {
		w.both = append(w.both, client{t, start(t, "serve", w.root, append(w.settings, "WORKER_CONCURRENCY=0")...).url})
	}
	start(t, "worker", w.root, append(w.settings, "RENDITIONS=240p")...)
	return w
}

// prepare leaves a video that plays, uploads that are not done, and videos that wait behind one that takes a while.
func (w *faultyWorld) prepare() {
	w.Helper()
	read := func(path string) []byte {
		content, err := os.ReadFile(path)
		if err != nil {
			w.Fatal(err)
		}
		return content
	}
	short := shortClip(w.T)
	w.bytes = read(short)
	w.watched = w.both[0].send(short)
	w.both[0].await(w.watched, "transcoded")
	w.complete, w.partial = w.begin(w.bytes, len(w.bytes)), w.begin(w.bytes, 1000)
	w.contest = newContest(w.both, w.begin(make([]byte, contestSize), 0))
	for i := range 4 {
		path := short
		if i == 0 {
			path = clip(w.T, "long.mp4", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=60", "-c:v", "libx264", "-preset", "ultrafast")
		}
		w.queued[w.both[i%2].send(path)] = read(path)
	}
}

// begin creates an upload and sends its first bytes.
func (w *faultyWorld) begin(content []byte, sent int) (location string) {
	w.Helper()
	location, err := w.both[0].create(len(content))
	if err == nil && sent > 0 {
		_, err = w.both[0].try("PATCH", location, bytes.NewReader(content[:sent]), "Tus-Resumable", "1.0.0",
			"Content-Type", "application/offset+octet-stream", "Upload-Offset", "0")
	}
	if err != nil {
		w.Fatal(err)
	}
	return location
}

// inTheMiddle does something while two clients fight over an upload, and others watch a video.
func (w *faultyWorld) inTheMiddle(do func()) {
	w.Helper()
	done := make(chan struct{})
	var others sync.WaitGroup
	for n, c := range w.both {
		others.Go(func() { w.contest.fight(n, c, done) })
		others.Go(func() { w.watch(c, done) })
	}
	time.Sleep(time.Second)
	do()
	time.Sleep(time.Second)
	close(done)
	others.Wait()
}

// watch streams again and again; nothing of it may fail.
func (w *faultyWorld) watch(c client, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		for _, path := range []string{"original.mp4", "hls/master.m3u8", "metadata", "renditions", "poster.jpg"} {
			got, err := c.stream(w.watched, path)
			if err != nil {
				w.Errorf("streaming: %v", err)
				return
			}
			if path == "original.mp4" && !bytes.Equal(got, w.bytes) {
				w.Errorf("other bytes are streamed: %d", len(got))
			}
		}
	}
}

// wantRefusals asks for what needs Redis, as long as the fault lasts.
func (w *faultyWorld) wantRefusals() {
	w.Helper()
	for end := time.Now().Add(faultLasts); time.Now().Before(end); {
		for _, c := range w.both {
			for _, r := range []struct{ method, target, body string }{
				{"HEAD", w.partial, ""},
				{"PATCH", w.partial, string(w.bytes[1000:])},
				{"POST", "/uploads/finalize", fmt.Sprintf(`{"uploadId":%q,"filename":"clip.mp4"}`, filepath.Base(w.complete))},
				{"GET", "/readyz", ""},
			} {
				w.wantRefused(c, r.method, r.target, r.body)
			}
		}
	}
}

func (w *faultyWorld) wantRefused(c client, method, target, body string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), refusalTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.url+target, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	if method == "PATCH" {
		r.Header.Set("Content-Type", "application/offset+octet-stream")
		r.Header.Set("Upload-Offset", "1000")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Errorf("%s %s: %v", method, target, err)
		return
	}
	_ = resp.Body.Close()
	if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); resp.StatusCode != http.StatusServiceUnavailable || err != nil || after < 1 {
		w.Errorf("%s %s is answered with %d, Retry-After %q", method, target, resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

// wantEverything goes on where the fault came, and then nothing is missing.
func (w *faultyWorld) wantEverything() {
	w.Helper()
	id, err := w.both[1].finalizeInTime(w.complete)
	if err == nil {
		w.queued[id] = w.bytes
		err = w.both[1].insist(w.partial, w.bytes, 1<<20)
	}
	if err == nil {
		id, err = w.both[0].finalizeInTime(w.partial)
		w.queued[id] = w.bytes
	}
	if err != nil {
		w.Fatal(err)
	}
	w.both[0].await(w.contest.settle(w.T), "transcode_failed") // random bytes are no video
	for id, content := range w.queued {
		w.both[0].await(id, "transcoded")
		w.both[1].wantOriginal(id, content)
	}
	w.both[1].wantPlays(id)
	wantTidy(w.T, w.root)
	verifyAudit(w.T, w.root, w.settings...)
}

const (
	contestSize  = 64 << 20
	contestPiece = 128 << 10
)

// contest is an upload that two clients write to at once, each bytes of its own. If both were let in, the checksum, which goes
// with the bytes, would not be that of what is stored.
type contest struct {
	location string
	contents [2][]byte
	clients  []client

	mu           sync.Mutex
	acknowledged map[int]int // by offset: whose piece was acknowledged there
	odd          []string    // answers that nobody should get
}

func newContest(clients []client, location string) *contest {
	video := asVideo(randomBytes(contestSize))
	other := bytes.Clone(video)
	for i := range other[32:] {
		other[32+i] ^= 0xff
	}
	return &contest{location: location, contents: [2][]byte{video, other}, clients: clients, acknowledged: map[int]int{}}
}

func (c *contest) fight(n int, by client, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		a, err := by.try("HEAD", c.location, nil, "Tus-Resumable", "1.0.0")
		offset, noOffset := strconv.Atoi(a.header.Get("Upload-Offset"))
		if err != nil || noOffset != nil || offset+contestPiece > contestSize {
			c.note(a, err, 200, 423, 503)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		a, err = by.try("PATCH", c.location, bytes.NewReader(c.contents[n][offset:offset+contestPiece]), "Tus-Resumable", "1.0.0",
			"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset))
		c.note(a, err, 204, 409, 423, 503)
		if err == nil && a.status == http.StatusNoContent {
			c.mu.Lock()
			c.acknowledged[offset] = n
			c.mu.Unlock()
		}
	}
}

func (c *contest) note(a answer, err error, expected ...int) {
	if err == nil && slices.Contains(expected, a.status) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.odd = append(c.odd, fmt.Sprintf("%d %s %v", a.status, a.body, err))
}

// settle lets one of them finish, looks at who wrote what, and returns the video that came of it.
func (c *contest) settle(t *testing.T) (videoID string) {
	t.Helper()
	if len(c.odd) > 0 || len(c.acknowledged) == 0 {
		t.Errorf("%d pieces were acknowledged; odd answers: %q", len(c.acknowledged), c.odd)
	}
	by := c.clients[0]
	err := by.insist(c.location, c.contents[0], contestSize)
	if err != nil {
		t.Fatal(err)
	}
	id, err := by.finalizeInTime(c.location)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := by.stream(id, "original.mp4")
	if err != nil || len(stored) != contestSize {
		t.Fatalf("%d bytes, %v", len(stored), err)
	}
	if err := by.compare(id, stored); err != nil {
		t.Errorf("two writers were in one upload: %v", err)
	}
	wrote := [2]int{}
	for offset, n := range c.acknowledged {
		wrote[n]++
		if end := offset + contestPiece; !bytes.Equal(stored[offset:end], c.contents[n][offset:end]) {
			t.Errorf("the piece at %d was acknowledged, and is not what is stored", offset)
		}
	}
	t.Logf("acknowledged pieces: %v", wrote)
	return id
}
