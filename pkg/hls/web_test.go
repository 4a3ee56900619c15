package hls_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// signedSite serves a folder as a streamer does: each URI has a token of its own, and nothing goes out without one.
type signedSite struct {
	dir    string
	header func(h http.Header, name string) // changes what is sent
	bucket string                           // where media playlists say that segments are
}

var uriLine = regexp.MustCompile(`(?m)^[^#\n].*$`)

func (s signedSite) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if r.URL.Query().Get("token") != "for-"+name {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	h := w.Header()
	if path.Ext(name) == ".m3u8" {
		h.Set("Content-Type", "application/vnd.apple.mpegurl")
		h.Set("Cache-Control", "private, no-cache")
	} else {
		h.Set("Content-Type", "video/mp2t")
		h.Set("Cache-Control", "private, max-age=86400, immutable")
	}
	if s.header != nil {
		s.header(h, name)
	}
	if path.Ext(name) != ".m3u8" {
		http.ServeFile(w, r, filepath.Join(s.dir, name))
		return
	}
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	folder := ""
	if name != "master.m3u8" {
		folder = s.bucket
	}
	_, _ = w.Write([]byte(uriLine.ReplaceAllString(string(data), folder+"$0?token=for-$0")))
}

// Segments may be in a bucket; playlists may not, and none may lead into the file system.
func TestAVideoInABucket(t *testing.T) {
	dir := publish(t, low(), high())
	bucket := httptest.NewServer(signedSite{dir: dir})
	t.Cleanup(bucket.Close)
	at := func(t *testing.T, site signedSite) string {
		server := httptest.NewServer(site)
		t.Cleanup(server.Close)
		return server.URL + "/media/hls/master.m3u8?token=for-master.m3u8"
	}
	report := lint(t, at(t, signedSite{dir: dir, bucket: bucket.URL + "/"}))
	if text := table(t, report); !report.OK() || !strings.Contains(text, "segments are fetched from "+strings.TrimPrefix(bucket.URL, "http://")) || strings.Contains(text, "token") {
		t.Errorf("a good video fails, or does not say where its segments are:\n%s", text)
	}
	wantOnly(t, at(t, signedSite{dir: dir, bucket: "file:///"}), "uris")
}

func TestAVideoOnTheWeb(t *testing.T) {
	dir := publish(t, low(), high())
	at := func(t *testing.T, header func(http.Header, string)) string {
		server := httptest.NewServer(signedSite{dir: dir, header: header})
		t.Cleanup(server.Close)
		return server.URL + "/media/hls/master.m3u8?token=for-master.m3u8"
	}
	report := lint(t, at(t, nil))
	if text := table(t, report); !report.OK() || strings.Contains(text, " -  ") {
		t.Errorf("a good video fails:\n%s", text)
	}
	if text := table(t, report); strings.Contains(text+report.Place, "token") {
		t.Errorf("a token is shown: %s\n%s", report.Place, text)
	}
	for name, tc := range map[string]struct{ rule, file, header, value string }{
		"playlist as text":          {"media-type", "high.m3u8", "Content-Type", "text/plain; charset=utf-8"},
		"master as bytes":           {"media-type", "master.m3u8", "Content-Type", "application/octet-stream"},
		"segment as bytes":          {"media-type", "high_001.ts", "Content-Type", "application/octet-stream"},
		"playlist kept":             {"caching", "master.m3u8", "Cache-Control", "private, max-age=3600"},
		"playlist without a word":   {"caching", "high.m3u8", "Cache-Control", ""},
		"segment not kept":          {"caching", "high_001.ts", "Cache-Control", "no-store"},
		"segment kept for everyone": {"caching", "high_001.ts", "Cache-Control", "public, max-age=86400"},
	} {
		t.Run(name, func(t *testing.T) {
			wantOnly(t, at(t, func(h http.Header, file string) {
				if file == tc.file {
					h.Set(tc.header, tc.value)
				}
			}), tc.rule)
		})
	}
	t.Run("segment refused", func(t *testing.T) {
		remove(t, filepath.Join(dir, "high_001.ts"))
		wantOnly(t, at(t, nil), "segments")
	})
}
