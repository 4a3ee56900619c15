package main_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// atOnce sends so many requests at the same time, and counts the answers by status. Refusals must be whole.
func (f *front) atOnce(n int, method, target string, headers ...string) map[int]int {
	f.t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	counts := map[int]int{}
	for range n {
		group.Go(func() {
			a, err := f.try(method, target, nil, append(headers, "Origin", "https://clinic.example")...)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.t.Error(err)
			}
			counts[a.status]++
			if a.status != http.StatusTooManyRequests {
				return
			}
			wantSecured(f.t, "a refusal", a.header, nil, false)
			if a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), `"too_many_requests"`) || a.header.Get("Content-Type") != "application/json" ||
				a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "https://clinic.example" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Retry-After") {
				f.t.Errorf("refused with %v %s", a.header, a.body)
			}
			if strings.HasPrefix(target, "/media/videos/") != (a.header.Get("X-Cache-Status") == "BYPASS") {
				f.t.Errorf("%s: X-Cache-Status %q", target, a.header.Get("X-Cache-Status"))
			}
		})
	}
	group.Wait()
	return counts
}

// Each kind of request has its own limit: what comes beyond the burst at once is refused, and what comes one after another never.
func TestNginxLimits(t *testing.T) {
	f := startFront(t, "CORS_ORIGINS=https://clinic.example", "RATE_UPLOAD=2", "RATE_UPLOAD_BURST=3", "RATE_API=5", "RATE_API_BURST=6", "RATE_MEDIA=5", "RATE_MEDIA_BURST=4", "RATE_PIECES_BURST=5")
	id := f.store(1000, anHLS())
	link := f.sign(id, "hls/240p_000.ts")
	f.do(200, "GET", link, nil)
	time.Sleep(2 * time.Second) // in which what was asked is forgotten
	for target, most := range map[string]int{"/videos": 7, link: 5, f.sign(id, "metadata"): 5} {
		if counts := f.atOnce(25, "GET", target); counts[429] < 25-most-5 || counts[200] < most-2 || counts[429]+counts[200] != 25 {
			t.Errorf("%.30s: %v, and %d may come at once", target, counts, most)
		}
		time.Sleep(2 * time.Second)
	}
	if counts := f.atOnce(20, "POST", "/uploads", "Tus-Resumable", "1.0.0", "Upload-Length", "5"); counts[201] < 3 || counts[201] > 8 || counts[429] != 20-counts[201] {
		t.Errorf("uploads: %v", counts)
	}
	for range 8 {
		f.do(200, "GET", "/videos", nil)
	}
}

// An address has so many requests that are answered at once, and no more.
func TestNginxLimitsConnections(t *testing.T) {
	f := startFront(t, "CORS_ORIGINS=https://clinic.example", "RATE_CONNECTIONS=3", "RATE_PIECES_BURST=50", "RATE_UPLOAD=1000")
	var locations []string
	for range 4 {
		location, err := f.create(100)
		if err != nil {
			t.Fatal(err)
		}
		locations = append(locations, location)
	}
	straight := client{t, "http://" + f.plain} // what adds the key would wait for the end of a body that is refused
	held, release := io.Pipe()
	var group sync.WaitGroup
	for _, other := range locations[1:] {
		group.Go(func() {
			for status := http.StatusTooManyRequests; status == http.StatusTooManyRequests; { // a question below was there first
				a, err := straight.try("PATCH", other, io.MultiReader(strings.NewReader("the beginning"), held),
					"Authorization", "Bearer "+f.key, "Tus-Resumable", "1.0.0", "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream")
				if err != nil {
					t.Error(err)
				}
				status = a.status
			}
		})
	}
	refused := func() bool { return f.atOnce(1, "GET", "/videos")[429] == 1 }
	if !comesTrue(refused) {
		t.Error("a fourth request is answered while three are")
	}
	_ = release.Close()
	group.Wait()
	f.do(200, "HEAD", locations[0], nil, "Tus-Resumable", "1.0.0")
}

// Clients that send small pieces as fast as they can get through, several side by side too; it only takes longer.
func TestNginxLetsUploadsInSmallPiecesThrough(t *testing.T) {
	f := startFront(t, "RATE_CONNECTIONS=20")
	content := asVideo(randomBytes(30_000))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			var location string
			var err error
			for { // a browser would wait as Retry-After says
				if location, err = f.create(len(content)); err == nil || !strings.Contains(err.Error(), "429") {
					break
				}
				time.Sleep(time.Second)
			}
			if err == nil {
				_, err = f.resume(location, content, 5000)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	delayed := 0
	for _, line := range f.lines() {
		if line.Limited == "DELAYED" {
			delayed++
		}
		if line.Method == "PATCH" && line.Status != http.StatusNoContent {
			t.Errorf("a piece was answered with %d", line.Status)
		}
	}
	if delayed == 0 {
		t.Error("nothing was slowed down")
	}
}

// The official JavaScript client gets through as well, with several uploads side by side; it gives up at a 429.
func TestNginxLetsTusJSClientsThrough(t *testing.T) {
	dir := installTusJS(t)
	f := startFront(t)
	content := asVideo(randomBytes(3 << 20))
	file := filepath.Join(t.TempDir(), "video.mp4")
	f.write(file, string(content))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			cmd := exec.CommandContext(ctx, "node", "upload.js", f.url+"/uploads", file)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CHUNK_SIZE="+strconv.Itoa(200_000))
			var complaints bytes.Buffer
			cmd.Stderr = &complaints
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("a client gives up: %v\n%s", err, &complaints)
				return
			}
			address, err := url.Parse(strings.TrimSpace(string(out)))
			if err != nil {
				t.Error(err)
				return
			}
			wantFinalized(f.client, address.Path, content)
		})
	}
	group.Wait()
}
