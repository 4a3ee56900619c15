package stream_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
)

// newBucketWorld is a world whose media are in a bucket, and of which no more than 100 bytes go through us. What prepare adds
// to its folder is there too.
func newBucketWorld(t *testing.T, prepare ...func(*world)) *world {
	t.Helper()
	w, bucket := newWorld(t), mediatest.StartS3(t).Open(t)
	for _, p := range prepare {
		p(w)
	}
	err := filepath.WalkDir(w.folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(w.folder, path)
		_, err = bucket.Write(t.Context(), media.VideoKey(w.id)+"/"+filepath.ToSlash(name), data, media.Any)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.serve(bucket, bucket, 100)
	return w
}

func fetch(t *testing.T, w *world, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, body := w.send(r)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", url, resp.Status, body)
	}
	return body
}

// In a bucket, a playlist names segments where they are: a player is not redirected, and the bytes do not come through us.
func TestBucketPlaylistNamesSegmentsWhereTheyAre(t *testing.T) {
	w := newBucketWorld(t)
	resp, master := w.get("GET", w.link("hls/master.m3u8"))
	if resp.StatusCode != 200 || !strings.Contains(master, "\n240p.m3u8?token=") {
		t.Fatalf("%s %s", resp.Status, master)
	}
	_, text := w.get("GET", w.link("hls/240p.m3u8"))
	var parsed playlist.Media
	if err := parsed.Unmarshal([]byte(text)); err != nil {
		t.Fatal(err)
	}
	segment := parsed.Segments[0].URI
	if strings.Contains(segment, "token=") || fetch(t, w, segment) != "segment" {
		t.Errorf("the first segment is %s", segment)
	}
	if got := w.audited.paths(); strings.Join(got, " ") != "hls/master.m3u8 hls/240p.m3u8" {
		t.Errorf("audited %v", got)
	}
}

func TestBucketSendsLargeFilesAround(t *testing.T) {
	w := newBucketWorld(t)
	http.DefaultClient.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() { http.DefaultClient.CheckRedirect = nil })
	for _, tc := range []struct {
		method, path, rng string
		status            int
	}{
		{"GET", "original.mp4", "", 307},
		{"GET", "original.mp4", "bytes=0-", 307},
		{"GET", "original.mp4", "bytes=0-500", 307},
		{"GET", "original.mp4", "bytes=0-1,5-6", 307},
		{"GET", "original.mp4", "bytes=10-19", 206},
		{"HEAD", "original.mp4", "", 200},
		{"GET", "hls/240p_000.ts", "", 200},
	} {
		var headers []string
		if tc.rng != "" {
			headers = []string{"Range", tc.rng}
		}
		resp, body := w.get(tc.method, w.link(tc.path), headers...)
		if resp.StatusCode != tc.status {
			t.Errorf("%+v: %s", tc, resp.Status)
		}
		if tc.status == 206 && body != w.original[10:20] {
			t.Errorf("%+v: %q", tc, body)
		}
		if location := resp.Header.Get("Location"); tc.status == 307 && fetch(t, w, location) != w.original {
			t.Errorf("%+v: %s leads to something else", tc, location)
		}
	}
}
