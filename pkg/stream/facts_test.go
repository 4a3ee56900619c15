package stream_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/web"
)

// watched is a store that counts how often somebody looks at a record.
type watched struct {
	media.Store
	looks int
}

func (s *watched) Stamp(ctx context.Context, key string) (string, error) {
	if strings.HasSuffix(key, "/meta.json") {
		s.looks++
	}
	return s.Store.Stamp(ctx, key)
}

// Whether a video is there is looked for once a lease, and forgotten where it is seen to be gone; a playlist, whose links live
// as long as the record says, looks each time.
func TestPresenceIsLeased(t *testing.T) {
	w := newStrictWorld(t)
	store := &watched{Store: &media.Dir{Videos: filepath.Dir(w.folder)}}
	synctest.Test(t, func(t *testing.T) {
		s := &stream.Streamer{
			Signer: w.signer, Media: store, Videos: w.videos, Progress: halfway{}, Audit: w.audited, Denials: w.audited, Keys: w.strict,
			Expiry: time.Minute, MaxExpiry: time.Hour, Lease: time.Second,
		}
		sign := func() int {
			body := strings.NewReader(`{"videoId":"` + string(w.id) + `","path":"original.mp4"}`)
			r := httptest.NewRequestWithContext(auth.With(t.Context(), auth.Caller{Name: "dr-no", Roles: []auth.Role{auth.Uploader}}), "POST", "/media/sign", body)
			answer := httptest.NewRecorder()
			web.Handler(s.ServeSign).ServeHTTP(answer, r)
			return answer.Code
		}
		play := func(path string) int {
			sealed, err := w.signer.Seal(token.Claims{User: "dr-no"})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequestWithContext(t.Context(), "GET", "/?token="+w.signer.Sign(sealed, string(w.id), path, time.Now().Add(50*365*24*time.Hour)), nil)
			r.SetPathValue("id", string(w.id))
			r.SetPathValue("path", path)
			answer := httptest.NewRecorder()
			web.Handler(s.ServeMedia).ServeHTTP(answer, r)
			return answer.Code
		}
		want := func(why string, status, looks int, got ...int) {
			t.Helper()
			for _, g := range got {
				if g != status {
					t.Errorf("%s: %d, want %d", why, g, status)
				}
			}
			if store.looks != looks {
				t.Errorf("%s: %d looks, want %d", why, store.looks, looks)
			}
			store.looks = 0
		}
		want("a lease", http.StatusOK, 1, sign(), sign(), play("original.mp4"))
		time.Sleep(time.Second - time.Nanosecond)
		want("its end", http.StatusOK, 0, sign())
		time.Sleep(time.Nanosecond)
		want("after it", http.StatusOK, 1, sign(), sign())
		want("playlists", http.StatusOK, 2, play("hls/240p.m3u8"), play("hls/240p.m3u8"))
		if err := os.Remove(filepath.Join(w.folder, "meta.json")); err != nil {
			t.Fatal(err)
		}
		want("removed in a lease", http.StatusOK, 0, sign())
		want("seen to be gone", http.StatusNotFound, 2, play("hls/240p.m3u8"), sign())
	})
}
