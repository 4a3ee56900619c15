package stream_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// threeHours is a playlist of three hours, in segments of 6 seconds.
func threeHours() string {
	var b strings.Builder
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n")
	for i := range 1800 {
		fmt.Fprintf(&b, "#EXTINF:6.000000,\n1080p_%03d.ts\n", i)
	}
	b.WriteString("#EXT-X-ENDLIST\n")
	return b.String()
}

// A playlist is parsed once, and yet never older than its file and its video's record, and never signed for longer than
// the request lets it.
func TestPlaylistFollowsItsFile(t *testing.T) {
	w := newWorld(t)
	uris := func() (list []string) {
		resp, body := w.get("GET", w.link("hls/240p.m3u8"))
		if resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
		for _, line := range strings.Split(body, "\n") {
			if line != "" && line[0] != '#' {
				list = append(list, line)
			}
		}
		return list
	}
	expiry := func(uri string) int64 {
		name, token, _ := strings.Cut(uri, "?token=")
		grant, err := w.signer.Verify(token, string(w.id), "hls/"+name)
		if err != nil {
			t.Fatalf("%s is not signed: %v", uri, err)
		}
		return grant.ExpiresAt.Unix()
	}
	first := uris()
	if _, err := w.videos.Update(t.Context(), w.id, func(v *vault.Video) error { v.Duration = 7200; return nil }); err != nil {
		t.Fatal(err)
	}
	if later := expiry(uris()[0]) - expiry(first[0]); later < 7200 || later > 7260 {
		t.Errorf("links live %d s longer once the video has 7200 s", later)
	}
	if err := os.WriteFile(filepath.Join(w.folder, "new"), []byte(threeHours()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(w.folder, "new"), filepath.Join(w.folder, "hls", "240p.m3u8")); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{uris(), uris()} { // made, and remembered
		if len(list) != 1800 || !strings.HasPrefix(list[1799], "1080p_1799.ts?token=") {
			t.Fatalf("%d segments, the last is %s", len(list), list[len(list)-1])
		}
		expiry(list[1799])
	}
	if err := os.Remove(filepath.Join(w.folder, "hls", "240p.m3u8")); err != nil {
		t.Fatal(err)
	}
	if resp, _ := w.get("GET", w.link("hls/240p.m3u8")); resp.StatusCode != 404 {
		t.Errorf("removed: %d", resp.StatusCode)
	}
}

// What is remembered stays within its bound, whatever is asked for.
func TestCacheIsBounded(t *testing.T) {
	stream.FillCache(t, 1000)
}

// A playlist is in memory, and goes out in one piece.
func TestPlaylistGoesOutWhole(t *testing.T) {
	answer := &discard{header: http.Header{}}
	playlist := threeHours()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	stream.ServeContent(answer, r, time.Time{}, bytes.NewReader([]byte(playlist)), int64(len(playlist)))
	if answer.bytes != int64(len(playlist)) || answer.writes != 1 {
		t.Errorf("%d of %d bytes in %d pieces", answer.bytes, len(playlist), answer.writes)
	}
}

// BenchmarkThreeHourPlaylist is one request for a playlist of 1800 segments, without the network.
func BenchmarkThreeHourPlaylist(b *testing.B) {
	w := newWorld(b)
	path := filepath.Join(w.folder, "hls", "240p.m3u8")
	if err := os.WriteFile(path, []byte(threeHours()), 0o600); err != nil {
		b.Fatal(err)
	}
	dir := &media.Dir{Videos: filepath.Dir(w.folder)}
	sealed, err := token.Claims{KeyID: "a1b2c3d4", User: "dr-no@clinic.example"}.Seal()
	if err != nil {
		b.Fatal(err)
	}
	for name, claims := range map[string]token.Sealed{"anonymous": "", "claims": sealed} {
		s := &stream.Streamer{Signer: w.signer, Media: dir, Videos: w.videos, Progress: halfway{}, Audit: w.audited, Open: claims == ""}
		tok := w.signer.Sign(claims, string(w.id), "hls/240p.m3u8", time.Now().Add(time.Minute))
		r := httptest.NewRequest(http.MethodGet, "/media/videos/"+string(w.id)+"/hls/240p.m3u8?token="+tok, nil)
		r.SetPathValue("id", string(w.id))
		r.SetPathValue("path", "hls/240p.m3u8")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d := &discard{header: http.Header{}}
				web.Handler(s.ServeMedia).ServeHTTP(d, r)
				if d.status != 200 || d.bytes < 1800*64 {
					b.Fatal(d.status, d.bytes)
				}
			}
		})
	}
}

// discard is an answer that nobody reads.
type discard struct {
	header http.Header
	status int
	bytes  int64
	writes int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) WriteHeader(status int) { d.status = status }

func (d *discard) Write(b []byte) (int, error) {
	d.bytes += int64(len(b))
	d.writes++
	return len(b), nil
}
