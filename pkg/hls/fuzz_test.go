package hls_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/hls"
)

// forged is a video of three files: a master playlist, and what every other playlist and every segment holds.
type forged struct {
	t                      *testing.T
	master, media, segment []byte
	header                 http.Header
}

func (f forged) Place() string  { return "a forgery" }
func (f forged) Master() string { return "master.m3u8" }

func (f forged) Open(_ context.Context, uri string) (io.ReadCloser, http.Header, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, nil, err
	}
	if u.IsAbs() && f.header == nil || !u.IsAbs() && !filepath.IsLocal(u.Path) {
		f.t.Errorf("%q is followed", uri)
	}
	content := f.segment
	switch {
	case uri == f.Master():
		content = f.master
	case path.Ext(u.Path) == ".m3u8":
		content = f.media
	case path.Ext(u.Path) == "":
		return nil, nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(content)), f.header, nil
}

// Whatever is published, the lint comes to an end with a verdict for each rule, and follows no URI that leads out.
func FuzzLint(f *testing.F) {
	const master = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=500000,AVERAGE-BANDWIDTH=400000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=426x240,FRAME-RATE=25.000\n240p.m3u8\n"
	const media = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:6.0,\n240p_000.ts\n#EXTINF:4,\n240p_001.ts\n#EXT-X-ENDLIST\n"
	packet := append([]byte{0x47, 0x40, 0x00, 0x10, 0}, make([]byte, 183)...)
	f.Add([]byte(master), []byte(media), packet, true)
	f.Add([]byte(master), []byte(strings.ReplaceAll(media, "240p_000.ts", "../../etc/passwd.x")), []byte{}, false)
	f.Add([]byte(strings.ReplaceAll(master, "240p.m3u8", "https://example.org/x.m3u8")), []byte(media), packet, true)
	f.Add([]byte(master), []byte(strings.ReplaceAll(media, "240p_", "https://example.org/240p_")), packet, false)
	f.Add([]byte(master+"..%2fx.m3u8\n"), []byte("#EXTM3U\n#EXTINF:NaN,\nx.ts\n#EXTINF:-1\n\\x.ts\n#EXTINF:1e300,\n"), packet, false)
	f.Add([]byte(strings.ReplaceAll(master, "RESOLUTION=426x240", "RESOLUTION=\"99999999999999999999x-1")), []byte(strings.ReplaceAll(media, "TARGETDURATION:6", "TARGETDURATION:99999999999")), packet, true)
	f.Fuzz(func(t *testing.T, master, media, segment []byte, overHTTP bool) {
		from := forged{t: t, master: master, media: media, segment: segment}
		if overHTTP {
			from.header = http.Header{"Content-Type": {"video/mp2t"}}
		}
		report, err := hls.Lint(t.Context(), from)
		if err != nil {
			if bytes.HasPrefix(master, []byte("#EXTM3U\n")) {
				t.Errorf("a playlist is not read: %v", err)
			}
			return
		}
		rules := map[string]bool{}
		for _, r := range report.Results {
			rules[r.Rule] = true
			if r.Verdict == hls.Fail && r.Evidence == "" {
				t.Errorf("%s fails without a reason", r.Rule)
			}
		}
		if len(rules) != 28 {
			t.Errorf("%d rules", len(rules))
		}
		if bytes.Contains(master, []byte("../")) && report.OK() {
			t.Error("a playlist that leads out of its folder breaks no rule")
		}
	})
}
