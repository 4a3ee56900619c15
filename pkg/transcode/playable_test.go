package transcode_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/vault"
)

// copyable is cut without being encoded again, and has two rungs.
func copyable(t *testing.T) string {
	return clip(t, "x.mp4", join(picture("640x360", "25", 13), sound(13), h264(), aac(), []string{"-g", "50"})...)
}

// variants are the names of the playlists that the master playlist in a folder leads to.
func variants(t *testing.T, folder string) string {
	t.Helper()
	var master playlist.Multivariant
	unmarshal(t, &master, filepath.Join(folder, "master.m3u8"))
	var names []string
	for _, v := range master.Variants {
		names = append(names, v.URI)
	}
	return strings.Join(names, " ")
}

// contents are the bytes of all files in a folder but the master playlist's.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	delete(files, "master.m3u8")
	return files
}

// wantKept fails the test unless everything that was published before still has its bytes.
func wantKept(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s has gone, or has other bytes", name)
		}
	}
}

// timesPlayable is how often the time until a video was playable has been measured.
func (w *world) timesPlayable() (n uint64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pulsevault_time_to_playable_seconds" {
			n = f.Metric[0].Histogram.GetSampleCount()
		}
	}
	return n
}

// While the ladder is being made the source plays, without having been encoded; then the ladder takes its place, and who is
// in the middle can go on.
func TestPlayableBeforeTheLadder(t *testing.T) {
	w := newWorld(t)
	id := w.add(copyable(t), "video/mp4")
	var before map[string]string
	w.during(func() {
		if got := variants(t, w.hls(id)); got != "source.m3u8" {
			t.Errorf("meanwhile the master playlist leads to %s", got)
		}
		wantLint(t, w.hls(id))
		if v := w.videos.v[id]; v.Status != vault.Transcoding || v.Duration != 13 || v.Width != 640 || v.Renditions != nil {
			t.Errorf("meanwhile recorded %+v", v)
		}
		if n := w.timesPlayable(); n != 1 {
			t.Errorf("measured %d times until the video was playable", n)
		}
		before = contents(t, w.hls(id))
	})
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if len(before) != 4 { // two segments of six seconds, the rest, and their playlist
		t.Errorf("published first: %v", slices.Sorted(maps.Keys(before)))
	}
	if got := variants(t, w.hls(id)); got != "240p.m3u8 360p.m3u8" {
		t.Errorf("in the end the master playlist leads to %s", got)
	}
	wantKept(t, before, contents(t, w.hls(id)))
	wantPlayable(t, w.hls(id), "640x360", true, 13)
	if v := w.get(id); fmt.Sprint(v.Renditions) != "[360p 240p]" || w.timesPlayable() != 1 {
		t.Errorf("recorded %+v, measured %d times until it was playable", v, w.timesPlayable())
	}
	w.wantNothingLeft(id)
}

// What cannot be copied, whether its container tells or only its bytes, has its lowest rung published first.
func TestLowestRungFirst(t *testing.T) {
	small := func(seconds float64) []string { return picture("640x360", "25", seconds) }
	for name, path := range map[string]func(*testing.T) string{
		"open GOP":          made("x.mp4", small(7), encoder("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "20", "-x264-params", "open-gop=1")),
		"HEVC":              made("x.mp4", small(2), x265("-pix_fmt", "yuv420p")),
		"sparse key frames": made("x.mp4", picture("640x360", "5", 13), h264(), []string{"-g", "1000"}),
		"a picture missing": made("x.mp4", small(7), []string{"-vf", "select='not(eq(n,30))'", "-vsync", "vfr"}, h264(), []string{"-g", "50"}),
		"rotated": func(t *testing.T) string {
			return clip(t, "r.mp4", "-i", clip(t, "x.mp4", join(small(2), h264())...), "-c", "copy", "-metadata:s:v:0", "rotate=90")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.add(path(t), "video/mp4")
			var before map[string]string
			w.during(func() {
				if got := variants(t, w.hls(id)); got != "240p.m3u8" {
					t.Errorf("meanwhile the master playlist leads to %s", got)
				}
				wantLint(t, w.hls(id))
				before = contents(t, w.hls(id))
			})
			if err := w.Transcode(t.Context(), id, false); err != nil {
				t.Fatal(err)
			}
			after := contents(t, w.hls(id))
			if got := variants(t, w.hls(id)); got != "240p.m3u8 360p.m3u8" || before == nil || after["source.m3u8"] != "" {
				t.Errorf("in the end the master playlist leads to %s", got)
			}
			wantKept(t, before, after)
			wantLint(t, w.hls(id))
			w.wantResults(map[string]float64{"success": 1})
			w.wantNothingLeft(id)
		})
	}
}

// The video plays, but that cannot be recorded: the next attempt makes what is left of the ladder, and nothing else again.
func TestTheLadderFollowsLater(t *testing.T) {
	for first, tc := range map[string]struct {
		path func(*testing.T) string
		then string
	}{
		"source.m3u8": {copyable, "240p.g2.m3u8 360p.g2.m3u8"},
		"240p.m3u8":   {made("x.mp4", picture("640x360", "25", 13), sound(13), x265("-pix_fmt", "yuv420p"), aac()), "240p.m3u8 360p.g2.m3u8"},
	} {
		t.Run(first, func(t *testing.T) {
			w := newWorld(t)
			id := w.add(tc.path(t), "video/mp4")
			w.videos.refuse = func(v vault.Video) error {
				if v.Status == vault.Transcoding && v.Duration > 0 {
					return errors.New("the disk is away")
				}
				return nil
			}
			if err := w.Transcode(t.Context(), id, false); err == nil || vault.KindOf(err) == vault.Unprocessable {
				t.Fatalf("error %v", err)
			}
			before := contents(t, w.hls(id))
			if v := w.get(id); v.Status != vault.Uploaded || variants(t, w.hls(id)) != first || !w.marked(id) {
				t.Errorf("recorded %+v, published %s", v, w.published(id))
			}
			w.videos.refuse = nil
			if err := w.Transcode(t.Context(), id, false); err != nil {
				t.Fatal(err)
			}
			if got := variants(t, w.hls(id)); got != tc.then || strings.Contains(w.published(id), "source.g2") {
				t.Errorf("published %s", w.published(id))
			}
			wantKept(t, before, contents(t, w.hls(id)))
			wantLint(t, w.hls(id))
			if v := w.get(id); v.Status != vault.Transcoded || v.Duration != 13 || w.timesPlayable() != 1 {
				t.Errorf("recorded %+v", v)
			}
			w.wantNothingLeft(id)
		})
	}
}

// A ladder that cannot be made leaves what plays already.
func TestWhatPlaysStaysWhenTheLadderFails(t *testing.T) {
	w := newWorld(t)
	id := w.add(copyable(t), "video/mp4")
	ctx, cancel := context.WithCancel(t.Context())
	w.during(cancel)
	if err := w.Transcode(ctx, id, false); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := w.GiveUp(t.Context(), vault.Task{Type: vault.TranscodeVideo, VideoID: id}, "the workers died"); err != nil {
		t.Fatal(err)
	}
	if v := w.get(id); v.Status != vault.TranscodeFailed || variants(t, w.hls(id)) != "source.m3u8" {
		t.Errorf("recorded %+v", v)
	}
	wantLint(t, w.hls(id))
}

// overtaking is a workshop in which another worker takes the video over as the original is fetched.
type overtaking struct {
	media.Workshop
	overtake func()
}

func (o overtaking) Local(ctx context.Context, key string) (string, func(), error) {
	o.overtake()
	return o.Workshop.Local(ctx, key)
}

func TestAnAttemptOvertakenAtOncePublishesNothing(t *testing.T) {
	w := newWorld(t)
	id := w.add(copyable(t), "video/mp4")
	w.Workshop = overtaking{w.dir, func() { w.set(id, func(v *vault.Video) { v.Attempt = 2 }) }}
	if err := w.Transcode(t.Context(), id, true); err != nil {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(w.hls(id)); !errors.Is(err, fs.ErrNotExist) || w.timesPlayable() != 0 {
		t.Errorf("something was published: %v", err)
	}
	w.wantNothingLeft(id)
}

// racing is a store that calls before the nth write of a master playlist.
type racing struct {
	media.Store
	n      int32
	count  atomic.Int32
	before func()
}

func (r *racing) Write(ctx context.Context, key string, data []byte, ifVersion string) (string, error) {
	if path.Base(key) == media.MasterPlaylist && r.count.Add(1) == r.n {
		r.before()
	}
	return r.Store.Write(ctx, key, data, ifVersion)
}

type noCache struct{}

func (noCache) Get(context.Context, vault.VideoID) ([]byte, bool) { return nil, false }
func (noCache) Put(context.Context, vault.VideoID, []byte)        {}
func (noCache) Drop(context.Context, vault.VideoID) error         { return nil }

// In a bucket, which has no locks, an attempt is overtaken just before it writes a master playlist, the first one or the
// ladder's, and the other one comes through to its end. One of them is published, whole.
func TestOneOfTwoAttemptsIsPublishedInABucket(t *testing.T) {
	s3 := mediatest.StartS3(t)
	for n, when := range []string{"before it plays", "before the ladder"} {
		t.Run(when, func(t *testing.T) {
			w := newWorld(t)
			bucket := s3.Open(t)
			records := &metadata.Store{Media: bucket, Cache: noCache{}, Now: time.Now}
			w.Videos, w.Workshop, w.Markers = records, bucket, media.Markers{Store: bucket}
			id := w.addTo(bucket, records, copyable(t))
			race := &racing{Store: bucket, n: int32(n + 1)} //nolint:gosec // 1 or 2
			race.before = func() {
				if err := w.Transcode(t.Context(), id, false); err != nil {
					t.Errorf("the other attempt: %v", err)
				}
			}
			w.Store = race
			if err := w.Transcode(t.Context(), id, false); err != nil {
				t.Errorf("the overtaken attempt: %v", err)
			}
			folder := filepath.Join(s3.Folder(), filepath.FromSlash(media.HLSKey(id, "")))
			if got := variants(t, folder); got != "240p.g2.m3u8 360p.g2.m3u8" {
				t.Errorf("the master playlist leads to %s", got)
			}
			wantLint(t, folder)
			if v, err := records.Get(t.Context(), id); err != nil || v.Status != vault.Transcoded || v.Attempt != 2 || v.Duration != 13 {
				t.Errorf("recorded %+v, %v", v, err)
			}
			w.wantResults(map[string]float64{"success": 1})
		})
	}
}

// addTo stores a file as a finalized video in a bucket.
func (w *world) addTo(bucket *media.Bucket, records *metadata.Store, from string) vault.VideoID {
	w.t.Helper()
	id := vault.NewVideoID()
	info, err := os.Stat(from)
	if err == nil {
		err = bucket.Import(w.t.Context(), map[string]string{media.OriginalKey(id): from})
	}
	if err == nil {
		_, err = records.Create(w.t.Context(), vault.Video{VideoID: id, ContentType: "video/mp4", OriginalSize: info.Size(), UploadedAt: time.Now()})
	}
	if err == nil {
		err = media.Markers{Store: bucket}.Mark(w.t.Context(), id, vault.NewUploadID())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}
