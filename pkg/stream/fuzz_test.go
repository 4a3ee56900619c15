package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// Whatever range is asked for, what comes is what Content-Range says it is. One range is answered as RFC 9110 has it,
// and a header that http.ServeContent reads as the RFC does is answered as http.ServeContent does.
func FuzzRange(f *testing.F) {
	for _, seed := range []string{
		"bytes=-500", "bytes=0-0", "bytes=100-", "bytes=5-2", "bytes=abc", "bytes=0-999999999", "bytes=-0", "bytes=999999999-", "lines=1-2", "bytes=0-1, 5-6, 9-",
		"bytes=99999999999999999999-", "bytes=0-99999999999999999999", "bytes=+0-5", "bytes=0-+5", "bytes=--5", "bytes=", "bytes", "BYTES=0-1", "bytes = 0-1", "bytes=0-1,",
		"bytes=,0-1", "bytes=-00", "bytes=-0,-5", "bytes=-5,-0", "bytes=000000000000000000000000-1", "bytes=1 - 2", "bytes=\t1-2", "bytes=0-0,0-0,0-0,0-0",
	} {
		f.Add(seed, uint16(1000))
		f.Add(seed, uint16(0))
		f.Add(seed, uint16(1))
	}
	f.Fuzz(func(t *testing.T, header string, size uint16) {
		content := make([]byte, int(size)%3000)
		for i := range content {
			content[i] = byte(i*7 + i/256)
		}
		got := askRange(content, header, func(w http.ResponseWriter, r *http.Request, c io.ReadSeeker) {
			stream.ServeContent(w, r, time.Time{}, c, int64(len(content)))
		})
		wantHonest(t, got, header, content)
		if status, body, ok := oneRange(header, content); ok && (got.Code != status || status != 416 && !bytes.Equal(got.Body.Bytes(), body)) {
			t.Errorf("%q of %d bytes: %d with %d bytes, want %d with %d", header, len(content), got.Code, got.Body.Len(), status, len(body))
		}
		if !plainRange.MatchString(header) || strings.Contains(header, "-0") || len(content) == 0 {
			return
		}
		bare := askRange(content, header, func(w http.ResponseWriter, r *http.Request, c io.ReadSeeker) {
			http.ServeContent(w, r, "", time.Time{}, c)
		})
		if bare.Code != got.Code || bare.Code < 300 && bare.Header().Get("Content-Range") != got.Header().Get("Content-Range") {
			t.Errorf("%q: %d %s, and net/http says %d %s", header, got.Code, got.Header().Get("Content-Range"), bare.Code, bare.Header().Get("Content-Range"))
		}
	})
}

var plainRange = regexp.MustCompile(`^bytes=[0-9]{0,18}-[0-9]{0,18}(, ?[0-9]{0,18}-[0-9]{0,18})*$`)

func askRange(content []byte, header string, serve func(http.ResponseWriter, *http.Request, io.ReadSeeker)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Range", header)
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "video/mp4")
	serve(rec, r, bytes.NewReader(content))
	return rec
}

// wantHonest compares each part of an answer with the content.
func wantHonest(t *testing.T, rec *httptest.ResponseRecorder, header string, content []byte) {
	t.Helper()
	check := func(contentRange string, part []byte) {
		var first, last, size int
		n, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size)
		if n != 3 || size != len(content) || first > last || last >= size || !bytes.Equal(part, content[first:last+1]) {
			t.Errorf("%q: %d bytes are said to be %s of %d (%v)", header, len(part), contentRange, len(content), err)
		}
	}
	switch rec.Code {
	case 200:
		if !bytes.Equal(rec.Body.Bytes(), content) {
			t.Errorf("%q: %d bytes of %d", header, rec.Body.Len(), len(content))
		}
	case 206:
		mediaType, params, err := mime.ParseMediaType(rec.Header().Get("Content-Type"))
		if err != nil || mediaType != "multipart/byteranges" {
			check(rec.Header().Get("Content-Range"), rec.Body.Bytes())
			return
		}
		parts := multipart.NewReader(rec.Body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("%q: %v", header, err)
			}
			data, err := io.ReadAll(p)
			if err != nil {
				t.Fatalf("%q: %v", header, err)
			}
			check(p.Header.Get("Content-Range"), data)
		}
	case 416:
		if got := rec.Header().Get("Content-Range"); got != fmt.Sprintf("bytes */%d", len(content)) || !strings.Contains(rec.Body.String(), `"range_not_satisfiable"`) {
			t.Errorf("%q is refused with Content-Range %q and %s", header, got, rec.Body)
		}
	default:
		t.Errorf("%q: %d", header, rec.Code)
	}
}

var rangeForm = regexp.MustCompile(`^[Bb][Yy][Tt][Ee][Ss]=([0-9]*)-([0-9]*)$`)

// oneRange answers a header with one range by the text of RFC 9110, section 14.1.2; not ok if it is no such header. A file
// without bytes is answered whole, as net/http does.
func oneRange(header string, content []byte) (status int, body []byte, ok bool) {
	m := rangeForm.FindStringSubmatch(header)
	if m == nil || m[1] == "" && m[2] == "" || len(content) == 0 {
		return 0, nil, false
	}
	size := big.NewInt(int64(len(content)))
	first, last := new(big.Int), new(big.Int).Sub(size, big.NewInt(1))
	switch {
	case m[1] == "":
		n, _ := new(big.Int).SetString(m[2], 10)
		if n.Sign() == 0 {
			return 416, nil, true
		}
		if n.Cmp(size) < 0 {
			first.Sub(size, n)
		}
	case m[2] != "":
		end, _ := new(big.Int).SetString(m[2], 10)
		if first.SetString(m[1], 10); end.Cmp(first) < 0 {
			return 416, nil, true // "invalid"; net/http refuses it, which section 14.2 allows
		}
		if end.Cmp(last) < 0 {
			last = end
		}
	default:
		first.SetString(m[1], 10)
	}
	if first.Cmp(size) >= 0 {
		return 416, nil, true
	}
	return 206, content[first.Int64() : last.Int64()+1], true
}

// shelf holds one playlist, under every name.
type shelf []byte

func (s shelf) Read(context.Context, string) ([]byte, string, error) { return s, "", nil }

func (s shelf) Stamp(context.Context, string) (string, error)     { return "", nil }
func (s shelf) Stat(context.Context, string) (fs.FileInfo, error) { return nil, fs.ErrNotExist }

func (s shelf) Open(context.Context, string) (media.Object, error) { return nil, fs.ErrNotExist }

type oneVideo float64 // its seconds

func (v oneVideo) Get(_ context.Context, id vault.VideoID) (vault.Video, error) {
	return vault.Video{VideoID: id, Duration: float64(v), Status: vault.Transcoded}, nil
}

func (v oneVideo) Public(context.Context, vault.VideoID) ([]byte, error) { return []byte("{}"), nil }

// A playlist that goes out is one again, of as many URIs as the stored one has, each of them signed for where it leads.
func FuzzSignedPlaylist(f *testing.F) {
	for _, seed := range []string{
		"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=426x240\n240p.m3u8\n",
		"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:6,\n240p_000.ts\n#EXTINF:4,\n240p_001.ts\n#EXT-X-ENDLIST\n",
		"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"x\",URI=\"sound.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"avc1.64001f\",AUDIO=\"a\"\nlow/240p.m3u8\n",
		"#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n../../x?y#z\n", "#EXTM3U", "", "#EXTM3U\n#EXTINF:1e9,\nx\n",
	} {
		f.Add([]byte(seed), 10.0)
	}
	signer, err := token.New(secret, "", nil)
	if err != nil {
		f.Fatal(err)
	}
	const id = "0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f"
	target := "/media/videos/" + id + "/hls/x.m3u8?token=" + signer.Sign("", id, "hls/x.m3u8", time.Now().Add(time.Hour))
	f.Fuzz(func(t *testing.T, stored []byte, seconds float64) {
		s := &stream.Streamer{Signer: signer, Media: shelf(stored), Videos: oneVideo(seconds), Progress: halfway{}, Audit: &auditor{}, Open: true, Log: slog.New(slog.DiscardHandler)}
		ask := func(target, name string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", target, nil)
			r.SetPathValue("id", id)
			r.SetPathValue("path", name)
			rec := httptest.NewRecorder()
			web.Handler(s.ServeMedia).ServeHTTP(rec, r)
			return rec
		}
		renditions := "/media/videos/" + id + "/renditions?token=" + signer.Sign("", id, "renditions", time.Now().Add(time.Hour))
		if rec := ask(renditions, "renditions"); rec.Code != 200 && rec.Code != 500 {
			t.Errorf("renditions: %d %s", rec.Code, rec.Body)
		}
		rec := ask(target, "hls/x.m3u8")
		if rec.Code == 500 && strings.Contains(rec.Body.String(), `"internal_error"`) {
			return // what is stored is no playlist
		}
		if rec.Code != 200 {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		before, after := urisOf(t, stored), urisOf(t, rec.Body.Bytes())
		if len(before) != len(after) {
			t.Fatalf("%d URIs become %d: %q", len(before), len(after), rec.Body)
		}
		for i, uri := range before {
			name := path.Join("hls", uri)
			if !media.ValidPath(name) || path.Clean(uri) != uri || seconds < 0 || seconds > 1e9 || seconds != seconds {
				continue // none that we publish
			}
			signed, err := url.Parse(after[i])
			if err != nil || signed.Path != uri {
				t.Fatalf("%q becomes %q, %v", uri, after[i], err)
			}
			if _, err := signer.Verify(signed.Query().Get("token"), id, name); err != nil {
				t.Errorf("%q is not signed for %s: %v", after[i], name, err)
			}
		}
	})
}

func urisOf(t *testing.T, text []byte) (uris []string) {
	t.Helper()
	p, err := playlist.Unmarshal(text)
	if err != nil {
		t.Fatalf("%q is no playlist: %v", text, err)
	}
	switch p := p.(type) {
	case *playlist.Multivariant:
		for _, v := range p.Variants {
			uris = append(uris, v.URI)
		}
		for _, r := range p.Renditions {
			if r.URI != nil {
				uris = append(uris, *r.URI)
			}
		}
	case *playlist.Media:
		for _, s := range p.Segments {
			uris = append(uris, s.URI)
		}
	}
	return uris
}
