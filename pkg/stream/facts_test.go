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
	"unsafe"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// watched is a store that counts how often somebody looks at a record.
type watched struct {
	media.Store
	looks int
	takes time.Duration
}

func (s *watched) Stamp(ctx context.Context, key string) (string, error) {
	if strings.HasSuffix(key, "/meta.json") {
		s.looks++
	}
	version, err := s.Store.Stamp(ctx, key)
	time.Sleep(s.takes)
	return version, err
}

// Whether a video is there is looked for once a lease, and forgotten where it is seen to be gone. A playlist, whose links live
// as long as the record says, looks each time, and so does whoever is refused: how long that takes tells nothing.
func TestPresenceIsLeased(t *testing.T) {
	w, absent := newStrictWorld(t), vault.NewVideoID()
	store := &watched{Store: &media.Dir{Videos: filepath.Dir(w.folder)}}
	synctest.Test(t, func(t *testing.T) {
		s := &stream.Streamer{
			Signer: w.signer, Media: store, Videos: w.videos, Progress: halfway{}, Audit: w.audited, Denials: w.audited, Keys: w.strict,
			Expiry: time.Minute, MaxExpiry: time.Hour, Lease: time.Second,
		}
		signAs := func(who string, id vault.VideoID) int {
			body := strings.NewReader(`{"videoId":"` + string(id) + `","path":"original.mp4"}`)
			r := httptest.NewRequestWithContext(auth.With(t.Context(), auth.Caller{Name: who, Roles: []auth.Role{auth.Uploader}}), "POST", "/media/sign", body)
			answer := httptest.NewRecorder()
			web.Handler(s.ServeSign).ServeHTTP(answer, r)
			return answer.Code
		}
		sign := func() int { return signAs("dr-no", w.id) }
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
		want("another's", http.StatusNotFound, 2, signAs("bob", w.id), signAs("bob", w.id))
		want("not there", http.StatusNotFound, 2, signAs("bob", absent), signAs("bob", absent))
		want("playlists", http.StatusOK, 2, play("hls/240p.m3u8"), play("hls/240p.m3u8"))
		store.takes = time.Second / 2
		want("slow looks", http.StatusOK, 1, play("hls/240p.m3u8"))
		time.Sleep(time.Second / 2)
		want("a lease that began before its look", http.StatusOK, 1, sign())
		store.takes = 0
		if err := os.Remove(filepath.Join(w.folder, "meta.json")); err != nil {
			t.Fatal(err)
		}
		want("removed in a lease", http.StatusOK, 0, sign())
		want("seen to be gone", http.StatusNotFound, 2, play("hls/240p.m3u8"), sign())
	})
}

// Whichever of the two clocks comes to its end first ends a lease.
func TestLeaseEndsByBothClocks(t *testing.T) {
	for _, tc := range []struct {
		monotonic, wall time.Duration
		want            bool
	}{{0, 0, true}, {1, 1, true}, {1, -time.Hour, true}, {time.Second, 1, false}, {1, time.Second, false}, {1, time.Hour, false}} {
		if got := stream.Within(time.Second, tc.monotonic, tc.wall); got != tc.want {
			t.Errorf("%v, %v: %t", tc.monotonic, tc.wall, got)
		}
	}
}

// What is remembered of a video does not keep the request in memory by which it was found.
func TestRecordsKeepNoRequest(t *testing.T) {
	w := newWorld(t)
	s := &stream.Streamer{Media: &media.Dir{Videos: filepath.Dir(w.folder)}, Videos: w.videos}
	if kept := stream.RememberedAs(t, s, w.id); unsafe.StringData(kept) == unsafe.StringData(string(w.id)) {
		t.Error("the id is kept in the memory of the address that it stood in")
	}
}
