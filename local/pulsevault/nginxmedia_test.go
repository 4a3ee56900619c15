package main_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pulsevault/pkg/media"
)

// A segment comes from the server once, and then from the cache, whoever asks by whichever link. Each play is on record once.
func TestNginxCachesSegmentsByVideoAndPath(t *testing.T) {
	f := startFront(t)
	files := anHLS()
	id := f.store(1000, files)
	for name, content := range map[string]string{"hls/240p_000.ts": files["hls/240p_000.ts"], media.Poster: files[media.Poster]} {
		fresh := f.direct.do(200, "GET", f.direct.sign(id, name), nil)
		want := []string{"GET"}
		for _, status := range []string{"MISS", "HIT", "HIT"} {
			a := f.do(200, "GET", f.sign(id, name), nil)
			if got := a.header.Get("X-Cache-Status"); got != status || string(a.body) != content {
				t.Errorf("%s: %s with %d bytes, want %s with %d", name, got, len(a.body), status, len(content))
			}
			for _, header := range []string{"ETag", "Last-Modified", "Content-Type", "Cache-Control", "Accept-Ranges"} {
				if a.header.Get(header) != fresh.header.Get(header) || a.header.Get(header) == "" {
					t.Errorf("%s, %s: %s is %q, of the server %q", name, status, header, a.header.Get(header), fresh.header.Get(header))
				}
			}
			want = append(want, "GET")
			if got := f.played(id, name); !slices.Equal(got, want) {
				t.Errorf("%s, %s: on record are %q, want %q", name, status, got, want)
			}
		}
	}
}

// Parts, conditions and heads are answered from the cache as the server answers them, and are on record as what they were.
func TestNginxAnswersPartsAndConditions(t *testing.T) {
	f := startFront(t)
	files := anHLS()
	id := f.store(1000, files)
	const name = "hls/240p_000.ts"
	segment := files[name]
	link := f.sign(id, name)
	etag := f.direct.do(200, "HEAD", link, nil).header.Get("ETag")
	want := []string{"HEAD"}
	for i, x := range []struct {
		method  string
		headers []string
		status  int
		body    string
		cache   string
	}{
		{"GET", []string{"Range", "bytes=10-19"}, 206, segment[10:20], "MISS"},
		{"GET", []string{"Range", "bytes=1048000-"}, 206, segment[1048000:], "HIT"},
		{"GET", []string{"Range", "bytes=0-9999999"}, 206, segment, "HIT"},
		{"HEAD", nil, 200, "", "HIT"},
		{"GET", []string{"If-None-Match", etag}, 304, "", "HIT"},
		{"GET", []string{"If-None-Match", `"another"`}, 200, segment, "HIT"},
		{"GET", []string{"Range", "bytes=5-6", "If-Range", etag}, 206, segment[5:7], "HIT"},
		{"GET", []string{"Range", "bytes=5-6", "If-Range", `"another"`}, 200, segment, "HIT"},
		{"GET", []string{"If-Match", `"another"`}, 412, "", "HIT"},
		{"GET", []string{"Range", "bytes=-5"}, 206, segment[1048571:], "BYPASS"},
		{"GET", []string{"Range", "bytes=1048576-"}, 416, "", "BYPASS"},
		{"GET", []string{"Range", "bytes=0-0,5-5"}, 206, "", "BYPASS"},
		{"GET", []string{"Range", "lines=1-2"}, 200, segment, "BYPASS"},
	} {
		direct := f.direct.do(x.status, x.method, link, nil, x.headers...)
		a := f.do(x.status, x.method, link, nil, x.headers...)
		if got := a.header.Get("X-Cache-Status"); got != x.cache || x.body != "" && string(a.body) != x.body {
			t.Errorf("%d: %s %v: %s with %d bytes, want %s with %d", i, x.method, x.headers, got, len(a.body), x.cache, len(x.body))
		}
		for _, header := range []string{"ETag", "Content-Range", "Content-Length", "Content-Type", "Cache-Control"} {
			if strings.HasPrefix(direct.header.Get(header), "multipart/") || x.status >= 412 && header == "Content-Length" || x.status == 412 && header == "ETag" {
				continue
			}
			if a.header.Get(header) != direct.header.Get(header) {
				t.Errorf("%d: %s %v: %s is %q, of the server %q", i, x.method, x.headers, header, a.header.Get(header), direct.header.Get(header))
			}
		}
		rng := ""
		if len(x.headers) > 0 && x.headers[0] == "Range" {
			rng = x.headers[1]
		}
		want = append(want, strings.TrimSpace(x.method+" "+rng), strings.TrimSpace(x.method+" "+rng))
	}
	if got := f.played(id, name); !slices.Equal(got, want) {
		t.Errorf("on record are %q, want %q", got, want)
	}
}

// A part of a large file is all that is fetched of it, and none of it is kept.
func TestNginxFetchesNoMoreOfALargeFileThanIsAskedFor(t *testing.T) {
	f := startFront(t)
	const size = 64 << 20
	id := f.store(size, nil)
	link := f.sign(id, "original.mp4")
	served := f.direct.metric("pulsevault_bytes_served_total")
	for _, rng := range []string{"bytes=0-99", "bytes=50000000-50000099", "bytes=67108764-", "bytes=-100"} {
		a := f.do(206, "GET", link, nil, "Range", rng)
		direct := f.direct.do(206, "GET", link, nil, "Range", rng)
		if got := a.header.Get("X-Cache-Status"); string(a.body) != string(direct.body) || len(a.body) != 100 || got != "BYPASS" || a.header.Get("Content-Range") != direct.header.Get("Content-Range") {
			t.Errorf("%s: %s %s, %d bytes", rng, got, a.header.Get("Content-Range"), len(a.body))
		}
	}
	if a := f.do(200, "HEAD", link, nil); a.header.Get("Content-Length") != fmt.Sprint(size) || a.header.Get("X-Cache-Status") != "BYPASS" {
		t.Errorf("%v", a.header)
	}
	if more := f.direct.metric("pulsevault_bytes_served_total") - served; more > 100_000 {
		t.Errorf("the server sent %.0f bytes", more)
	}
	if kept := f.kept(); kept > 0 {
		t.Errorf("%d bytes are kept", kept)
	}
	if a := f.do(200, "GET", link, nil); len(a.body) != size {
		t.Errorf("the whole has %d bytes", len(a.body))
	}
	if got := f.played(id, "original.mp4"); len(got) != 10 {
		t.Errorf("on record are %q", got)
	}
	small := f.store(1<<20, nil)
	for _, status := range []string{"MISS", "HIT"} {
		if a := f.do(200, "GET", f.sign(small, "original.mp4"), nil); a.header.Get("X-Cache-Status") != status || len(a.body) != 1<<20 {
			t.Errorf("a small original: %s, %d bytes, want %s", a.header.Get("X-Cache-Status"), len(a.body), status)
		}
	}
}

// kept is how many bytes the cache has.
func (f *front) kept() (bytes int64) {
	f.t.Helper()
	err := filepath.WalkDir(f.cache, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return bytes
}

// What is made for whoever asks is never kept, and is on record once.
func TestNginxKeepsNothingThatIsMadeForOne(t *testing.T) {
	f := startFront(t)
	id := f.store(1000, anHLS())
	for _, name := range []string{"hls/master.m3u8", "hls/240p.m3u8", "metadata", "renditions"} {
		for range 2 {
			a := f.do(200, "GET", f.sign(id, name), nil)
			if got := a.header.Get("X-Cache-Status"); got != "BYPASS" || !strings.Contains(a.header.Get("Cache-Control"), "no-") {
				t.Errorf("%s: %s, Cache-Control %q", name, got, a.header.Get("Cache-Control"))
			}
		}
		if got := f.played(id, name); !slices.Equal(got, []string{"GET", "GET"}) {
			t.Errorf("%s: on record are %q", name, got)
		}
	}
	if kept := f.kept(); kept > 0 {
		t.Errorf("%d bytes are kept", kept)
	}
}

// A file that was put back with another time, as from a backup, is served as it is now.
func TestNginxServesTheFileThatIsThere(t *testing.T) {
	f := startFront(t)
	id := f.store(1000, anHLS())
	const name = "hls/240p_000.ts"
	f.do(200, "GET", f.sign(id, name), nil)
	f.write(filepath.Join(f.root, "videos", id, name), "other bytes")
	if a := f.do(200, "GET", f.sign(id, name), nil); a.header.Get("X-Cache-Status") != "MISS" || string(a.body) != "other bytes" {
		t.Errorf("%s %.20q", a.header.Get("X-Cache-Status"), a.body)
	}
}

// A real video is uploaded, transcoded and played through nginx, over HTTPS at last.
func TestNginxFromUploadToPlayback(t *testing.T) {
	f := startFront(t, "WORKER_CONCURRENCY=1", "RENDITIONS=240p", "RATE_MEDIA=1000", "RATE_API=1000")
	clip := shortClip(t)
	id := f.send(clip)
	f.await(id, "transcoded")
	content, err := os.ReadFile(clip)
	if err != nil {
		t.Fatal(err)
	}
	f.wantOriginal(id, content)
	f.wantPlays(id)
	f.wantPlays(id) // from the cache
	f.wantPreview(id)
	if kept := f.kept(); kept == 0 {
		t.Error("nothing is in the cache")
	}
	hits := 0
	for _, line := range f.lines() {
		if line.Cache == "HIT" {
			hits++
		}
	}
	if hits == 0 {
		t.Error("nothing came from the cache")
	}
	verifyAudit(t, f.root)
}
