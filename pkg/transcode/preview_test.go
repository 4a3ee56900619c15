package transcode_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/storyboard"
	"pulsevault/pkg/transcode"
	"pulsevault/pkg/vault"
)

// clock is a picture whose brightness tells the time: black at the start, white at the end.
func clock(size, rate string, seconds float64) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("color=black:size=%s:rate=%s:duration=%g,format=yuv420p,geq=lum='16+219*T/%g':cb=128:cr=128", size, rate, seconds, seconds)}
}

// fade begins black and stays black for five seconds, and then shows something.
func fade() []string {
	return []string{"-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=10,drawbox=enable='lt(t,5)':color=black:thickness=fill"}
}

// previews are what is made of originals of many kinds.
var previews = []struct {
	name, contentType string
	path              func(*testing.T) string
	poster            string // its size
	thumb             string // size of a thumbnail
	cues              int
	apart             float64 // seconds between the pictures of a clock, at most; 0 if it is none
	corners           string  // of the poster, as cornersOf has them
}{
	{"a key frame each second", mp4, made("x.mp4", clock("320x240", "25", 20), h264(), []string{"-g", "25"}), "320x240", "160x120", 10, 2, ""},
	{"key frames at odd times", mp4, made("x.mp4", clock("320x240", "25", 20), h264(), []string{"-g", "33"}), "320x240", "160x120", 8, 2.64, ""},
	{"open GOP", mp4, made("x.mp4", clock("320x240", "25", 60), encoder("libx264", "-bf", "2", "-g", "20", "-x264-params", "open-gop=1:scenecut=0", "-pix_fmt", "yuv420p", "-sc_threshold", "0")), "320x240", "160x120", 25, 2.52, ""},
	{"open GOP, HEVC", mp4, made("x.mp4", clock("320x240", "25", 20), x265("-pix_fmt", "yuv420p", "-g", "25", "-bf", "2")), "320x240", "160x120", 10, 2.1, ""},
	{"delayed pictures", mkv, made("x.mkv", clock("320x240", "25", 20), []string{"-c:v", "libx264", "-bf", "3", "-g", "25", "-sc_threshold", "0"}), "320x240", "160x120", 10, 2, ""},
	{"transport stream", "video/mp2t", made("x.ts", clock("320x240", "25", 20), sound(20), h264(), aac(), []string{"-g", "25", "-output_ts_offset", "100"}), "320x240", "160x120", 10, 2, ""},
	{"only the first is a key frame", mp4, made("x.mp4", clock("320x240", "25", 12), h264(), []string{"-g", "1000"}), "320x240", "160x120", 1, 12, ""},
	{"one picture", mp4, made("x.mp4", small("25", 0.04), h264()), "320x240", "160x120", 1, 0, ""},
	{"three hours, each a key frame", mp4, made("x.mp4", clock("64x64", "1", 10800), h264(), []string{"-g", "1"}), "64x64", "64x64", 200, 54, ""},
	{"MPEG-4 in AVI", avi, made("x.avi", clock("320x240", "25", 20), encoder("mpeg4", "-g", "25", "-sc_threshold", "1000000000")), "320x240", "160x120", 10, 2, ""},
	{"no length told", webm, made("x.webm", clock("320x240", "25", 9), []string{"-c:v", "libvpx", "-deadline", "realtime", "-live", "1", "-g", "25"}), "320x240", "160x120", 5, 2, ""},
	{"hidden by an edit list", mp4, editList, "320x240", "160x120", 1, 0, ""},
	{"picture later than sound", mkv, made("x.mkv", sound(5), []string{"-itsoffset", "1"}, clock("320x240", "25", 4), []string{"-map", "0", "-map", "1", "-g", "25"}, h264(), aac()), "320x240", "160x120", 2, 0, ""},
	{"turned by a matrix", mp4, turned("270"), "240x320", "120x160", 1, 0, "BRWG"},
	{"turned by a tag", mkv, made("x.mkv", corners(), h264(), []string{"-metadata:s:v:0", "ROTATE=90"}), "240x320", "120x160", 1, 0, "BRWG"},
	{"anamorphic", mp4, made("x.mp4", picture("720x480", "25", 1), []string{"-vf", "setsar=32/27"}, h264()), "852x480", "160x90", 1, 0, ""},
	{"odd size", mp4, made("x.mp4", picture("321x241", "25", 1), encoder("libx264", "-pix_fmt", "yuv444p")), "320x240", "160x120", 1, 0, ""},
	{"larger than a poster", mp4, made("x.mp4", picture("2560x1440", "5", 1), h264()), "1280x720", "160x90", 1, 0, ""},
	{"a strip", mp4, made("x.mp4", picture("1024x16", "25", 1), h264()), "1024x16", "160x2", 1, 0, ""},
	{"interlaced", "video/mp2t", avchd, "320x240", "160x120", 1, 0, ""},
}

func TestPreviews(t *testing.T) {
	for _, tc := range previews {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.Ladder = transcode.Ladder()[:1] // the others are tested elsewhere
			id := w.add(tc.path(t), tc.contentType)
			if err := w.Transcode(t.Context(), id, false); err != nil {
				t.Fatal(err)
			}
			wantJPEG(t, filepath.Join(w.folder(id), "poster.jpg"), tc.poster)
			if tc.corners != "" {
				if got := cornersOf(t, filepath.Join(w.folder(id), "poster.jpg")); got != tc.corners {
					t.Errorf("the corners are %s, want %s", got, tc.corners)
				}
			}
			cues := wantStoryboard(t, w.folder(id), w.get(id).Duration)
			if len(cues) != tc.cues {
				t.Errorf("%d cues, want %d, the last %+v", len(cues), tc.cues, cues[len(cues)-1])
			}
			if size := fmt.Sprintf("%dx%d", cues[0].Width, cues[0].Height); size != tc.thumb {
				t.Errorf("thumbnails of %s, want %s", size, tc.thumb)
			}
			if tc.apart > 0 {
				wantClock(t, w.folder(id), cues, w.get(id).Duration, tc.apart)
			}
			w.wantNothingLeft(id)
		})
	}
}

// The HDR of a phone is brought to what every screen shows.
func TestPreviewOfHDR(t *testing.T) {
	w := newWorld(t)
	id := w.add(clip(t, "x.mp4", join(corners(), hdr("smpte2084"))...), mp4)
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Skipf("NOT TESTED: this ffmpeg cannot map tones: %v", err)
	}
	wantJPEG(t, filepath.Join(w.folder(id), "poster.jpg"), "320x240")
	if got := cornersOf(t, filepath.Join(w.folder(id), "poster.jpg")); got != "RGBW" {
		t.Errorf("the corners are %s", got)
	}
	wantStoryboard(t, w.folder(id), w.get(id).Duration)
}

func TestPosterIsNotBlack(t *testing.T) {
	w := newWorld(t)
	id := w.add(clip(t, "x.mp4", join(fade(), h264(), []string{"-g", "25"})...), mp4)
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	poster := readJPEG(t, filepath.Join(w.folder(id), "poster.jpg"))
	bright := 0
	for x := range poster.Bounds().Dx() {
		if luma(poster, image.Rect(x, 0, x+1, poster.Bounds().Dy())) > 40 {
			bright++
		}
	}
	if bright < poster.Bounds().Dx()/2 {
		t.Errorf("%d of %d columns can be seen", bright, poster.Bounds().Dx())
	}
	cues := wantStoryboard(t, w.folder(id), 10)
	if first := luma(readJPEG(t, filepath.Join(w.folder(id), cues[0].URI)), place(cues[0])); first > 8 {
		t.Errorf("the storyboard begins with a brightness of %.0f", first)
	}
}

// wantJPEG fails the test unless a file is a JPEG of a size that tells nothing but the picture.
func wantJPEG(t *testing.T, path, size string) {
	t.Helper()
	picture := readJPEG(t, path)
	if got := fmt.Sprintf("%dx%d", picture.Bounds().Dx(), picture.Bounds().Dy()); got != size {
		t.Errorf("%s has %s, want %s", filepath.Base(path), got, size)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i+3 < len(data) && data[i] == 0xff && data[i+1] != 0xda; i += 2 + int(data[i+2])<<8 + int(data[i+3]) {
		if marker := data[i+1]; marker >= 0xe1 && marker <= 0xef || marker == 0xfe { // APP1 to APP15, COM
			t.Errorf("%s has a segment %x: %q", filepath.Base(path), marker, data[i:i+20])
		}
	}
}

func readJPEG(t *testing.T, path string) image.Image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(path), err)
	}
	return picture
}

// wantStoryboard fails the test unless the cues of a storyboard follow each other from the start to the end, and lead to
// places in sheets that are there, each its own.
func wantStoryboard(t *testing.T, folder string, seconds float64) []storyboard.Cue {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "storyboard.vtt"))
	if err != nil {
		t.Fatal(err)
	}
	cues, err := storyboard.Unmarshal(data)
	if err != nil || len(cues) == 0 {
		t.Fatalf("%v in\n%s", err, data)
	}
	taken, sheets := map[string]bool{}, map[string]image.Rectangle{}
	now := time.Duration(0)
	for _, c := range cues {
		if c.From != now {
			t.Errorf("a cue begins at %v, and the one before ends at %v", c.From, now)
		}
		now = c.To
		if _, known := sheets[c.URI]; !known {
			sheets[c.URI] = readJPEG(t, filepath.Join(folder, c.URI)).Bounds()
		}
		if !place(c).In(sheets[c.URI]) || c.Width%2+c.Height%2 != 0 {
			t.Errorf("%+v does not lie in %v", c, sheets[c.URI])
		}
		if key := fmt.Sprint(c.URI, place(c)); taken[key] {
			t.Errorf("%s is shown twice", key)
		} else {
			taken[key] = true
		}
	}
	if off := now.Seconds() - seconds; math.Abs(off) > 0.05 {
		t.Errorf("the cues end at %v, the video at %v s", now, seconds)
	}
	if files, _ := filepath.Glob(filepath.Join(folder, "storyboard*.jpg")); len(files) != len(sheets) {
		t.Errorf("the storyboard leads to %d sheets of %v", len(sheets), files)
	}
	return cues
}

func place(c storyboard.Cue) image.Rectangle {
	return image.Rect(c.X, c.Y, c.X+c.Width, c.Y+c.Height)
}

// luma is the mean brightness of a part of a picture, up to 255.
func luma(picture image.Image, part image.Rectangle) (mean float64) {
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			mean += float64(color.GrayModel.Convert(picture.At(x, y)).(color.Gray).Y)
		}
	}
	return mean / float64(part.Dx()*part.Dy())
}

// wantClock fails the test unless each thumbnail of a clock shows the moment at which its cue begins, and no cue is longer
// than key frames are apart.
func wantClock(t *testing.T, folder string, cues []storyboard.Cue, seconds, apart float64) {
	t.Helper()
	for _, c := range cues {
		shown := luma(readJPEG(t, filepath.Join(folder, c.URI)), place(c)) / 255 * seconds
		if off := shown - c.From.Seconds(); math.Abs(off) > max(apart/4, seconds/90) { // three steps of brightness
			t.Errorf("at %v the picture of %.2f s is shown", c.From, shown)
		}
		if long := (c.To - c.From).Seconds(); long > apart+0.05 {
			t.Errorf("the cue at %v lasts %.2f s, key frames are %.2f apart", c.From, long, apart)
		}
	}
}

// An attempt before has left sheets and a poster, and has not come to the storyboard: what it left is not mixed with what is
// made now, and the poster keeps its bytes.
func TestPreviewAfterAnAttemptThatWasCutShort(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), mp4)
	w.set(id, func(v *vault.Video) { v.Status, v.Attempt = vault.Transcoding, 1 })
	for _, name := range []string{"poster.jpg", "storyboard_000.jpg", "storyboard_001.jpg"} {
		if err := os.WriteFile(filepath.Join(w.folder(id), name), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	cues := wantStoryboard(t, w.folder(id), 7)
	if cues[0].URI != "storyboard.g2_000.jpg" {
		t.Errorf("the storyboard leads to %s", cues[0].URI)
	}
	if data, err := os.ReadFile(filepath.Join(w.folder(id), "poster.jpg")); err != nil || string(data) != "old" {
		t.Errorf("the poster has other bytes: %v", err)
	}
}

// A storyboard that is there is not made again.
func TestPreviewIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), mp4)
	if err := os.WriteFile(filepath.Join(w.folder(id), "storyboard.vtt"), []byte("WEBVTT\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(w.folder(id), "*.jpg")); len(files) > 0 {
		t.Errorf("made %v", files)
	}
}

// full is a store that has no room for storyboards.
type full struct{ media.Store }

func (f full) Write(ctx context.Context, key string, data []byte, ifVersion string) (string, error) {
	if path.Base(key) == media.Storyboard {
		return "", errors.New("no space left")
	}
	return f.Store.Write(ctx, key, data, ifVersion)
}

// A preview that cannot be kept is no failure of the video, and the log says why.
func TestPreviewThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.Store, w.Log = full{w.dir}, slog.New(slog.NewTextHandler(&log, nil))
	id := w.add(short(t), mp4)
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if v := w.get(id); v.Status != vault.Transcoded || !strings.Contains(log.String(), "no space left") {
		t.Errorf("recorded %+v, logged\n%s", v, &log)
	}
	w.wantNothingLeft(id)
}

// racingPreview is a store that calls before it writes the first storyboard.
type racingPreview struct {
	media.Store
	count  atomic.Int32
	before func()
}

func (r *racingPreview) Write(ctx context.Context, key string, data []byte, ifVersion string) (string, error) {
	if path.Base(key) == media.Storyboard && r.count.Add(1) == 1 {
		r.before()
	}
	return r.Store.Write(ctx, key, data, ifVersion)
}

// In a bucket two attempts come to the storyboard at once: one of them is published, with its own sheets and no others.
func TestOneOfTwoPreviewsIsPublishedInABucket(t *testing.T) {
	s3 := mediatest.StartS3(t)
	w := newWorld(t)
	bucket := s3.Open(t)
	records := &metadata.Store{Media: bucket, Cache: noCache{}, Now: time.Now}
	w.Videos, w.Workshop, w.Markers = records, bucket, media.Markers{Store: bucket}
	id := w.addTo(bucket, records, short(t))
	race := &racingPreview{Store: bucket}
	race.before = func() {
		if err := w.Transcode(t.Context(), id, false); err != nil {
			t.Errorf("the other attempt: %v", err)
		}
	}
	w.Store = race
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Errorf("the overtaken attempt: %v", err)
	}
	folder := filepath.Join(s3.Folder(), filepath.FromSlash(media.VideoKey(id)))
	if cues := wantStoryboard(t, folder, 7); !strings.HasPrefix(cues[0].URI, "storyboard.g2_") {
		t.Errorf("the storyboard leads to %s", cues[0].URI)
	}
	wantJPEG(t, filepath.Join(folder, "poster.jpg"), "320x240")
}
