package transcode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/hls"
	"pulsevault/pkg/vault"
)

// What phones, cameras and browsers make comes out as HLS that plays without a warning, in each rung that fits.
func TestGoodVideos(t *testing.T) {
	cases := []struct {
		name, contentType string
		path              func(t *testing.T) string
		seconds           float64
		top               string   // RESOLUTION of the best rendition
		renditions        []string // highest first
		sound             bool
	}{
		{"1080p", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("1920x1080", "30", 7), sound(7), h264(), aac())...)
		}, 7, "1920x1080", []string{"1080p", "720p", "480p", "360p", "240p"}, true},
		{"1 fps", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "1", 20), sound(20), h264(), aac())...)
		}, 20, "320x240", []string{"240p"}, true},
		{"a frame in ten seconds", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "1/10", 30), h264())...)
		}, 30, "320x240", []string{"240p"}, false},
		{"23.976 fps, no sound", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("640x360", "24000/1001", 13), h264())...)
		}, 13, "640x360", []string{"360p", "240p"}, false},
		{"59.94 fps", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "60000/1001", 13), sound(13), h264(), aac())...)
		}, 13, "320x240", []string{"240p"}, true},
		{"120 fps", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "120", 7), h264())...)
		}, 7, "320x240", []string{"240p"}, false},
		{"odd size", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("321x241", "25", 3), []string{"-c:v", "libx264", "-pix_fmt", "yuv444p"})...)
		}, 3, "320x240", []string{"240p"}, false},
		{"one frame", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "25", 1), h264(), []string{"-frames:v", "1"})...)
		}, 0.04, "320x240", []string{"240p"}, false},
		{"small", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("192x144", "25", 2), h264())...)
		}, 2, "192x144", []string{"144p"}, false},
		{"upright", "video/mp4", func(t *testing.T) string {
			return clip(t, "r.mp4", "-i", clip(t, "x.mp4", join(picture("640x360", "25", 3), h264())...), "-c", "copy", "-metadata:s:v:0", "rotate=90")
		}, 3, "360x640", []string{"360p", "240p"}, false},
		{"anamorphic", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("720x480", "25", 2), []string{"-vf", "setsar=32/27"}, h264())...)
		}, 2, "852x480", []string{"480p", "360p", "240p"}, false},
		{"vp8 webm", "video/webm", func(t *testing.T) string {
			return clip(t, "x.webm", join(picture("640x480", "25", 3), sound(3), []string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libvorbis"})...)
		}, 3, "640x480", []string{"480p", "360p", "240p"}, true},
		{"webm without a duration", "video/webm", func(t *testing.T) string {
			return clip(t, "x.webm", join(picture("320x240", "25", 3), []string{"-c:v", "libvpx", "-deadline", "realtime", "-live", "1"})...)
		}, 3, "320x240", []string{"240p"}, false},
		{"picture begins later", "video/mp2t", func(t *testing.T) string {
			return clip(t, "x.ts", join(sound(14), []string{"-itsoffset", "0.7"}, picture("320x240", "25", 13), []string{"-map", "0", "-map", "1"}, h264(), aac())...)
		}, 14, "320x240", []string{"240p"}, true},
		{"sound begins later", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "25", 8), []string{"-itsoffset", "2"}, sound(6), []string{"-map", "0", "-map", "1"}, h264(), aac())...)
		}, 8, "320x240", []string{"240p"}, true},
		{"sound longer than picture", "video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "25", 4), sound(15), h264(), aac())...)
		}, 15, "320x240", []string{"240p"}, true},
		{"10 bit", "video/matroska", func(t *testing.T) string {
			return clip(t, "x.mkv", join(picture("320x240", "25", 2), []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"})...)
		}, 2, "320x240", []string{"240p"}, false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			id := w.add(tc.path(t), tc.contentType)
			if err := w.Transcode(t.Context(), id, false); err != nil {
				t.Fatal(err)
			}
			v := w.get(id)
			if v.Status != vault.Transcoded || fmt.Sprint(v.Renditions) != fmt.Sprint(tc.renditions) || v.TranscodedAt == nil || v.Attempt != 1 {
				t.Errorf("recorded %+v", v)
			}
			if math.Abs(v.Duration-tc.seconds) > 0.11 && tc.name != "a frame in ten seconds" {
				t.Errorf("recorded duration %v, want %v", v.Duration, tc.seconds)
			}
			if w.marked(id) {
				t.Error("the marker is still there")
			}
			if len(w.told.events) != 1 || w.told.events[0].Action != "video.transcoded" || w.told.events[0].VideoID != string(id) {
				t.Errorf("audit: %+v", w.told.events)
			}
			if last := w.told.progress[len(w.told.progress)-1]; last != 1 {
				t.Errorf("progress ends at %v", last)
			}
			w.wantResults(map[string]float64{"success": 1})
			w.wantNothingLeft(id)
			wantPlayable(t, w.hls(id), tc.top, tc.sound, tc.seconds)
		})
	}
}

var (
	codecsForm = regexp.MustCompile(`^avc1\.[0-9a-f]{6}$`)
	sizeForm   = regexp.MustCompile(`^\d+x\d+$`)
)

// wantPlayable checks published HLS from outside, with ffmpeg's own demuxers and by its bytes.
func wantPlayable(t *testing.T, folder, top string, sound bool, seconds float64) {
	t.Helper()
	wantLint(t, folder)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "warning", "-i", filepath.Join(folder, "master.m3u8"), "-map", "0", "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg plays it with %v\n%s", err, out)
	}
	var master playlist.Multivariant
	unmarshal(t, &master, filepath.Join(folder, "master.m3u8"))
	var starts []string
	var best int
	for _, v := range master.Variants {
		if !codecsForm.MatchString(v.Codecs[0]) || sound != (len(v.Codecs) == 2 && v.Codecs[1] == "mp4a.40.2") {
			t.Errorf("CODECS %q", v.Codecs)
		}
		if !sizeForm.MatchString(v.Resolution) || v.FrameRate == nil || v.AverageBandwidth == nil || v.Bandwidth < *v.AverageBandwidth {
			t.Errorf("variant %+v", v)
		}
		if v.Bandwidth > best {
			best = v.Bandwidth
		}
		starts = append(starts, wantMedia(t, folder, v, seconds))
	}
	for _, s := range starts {
		if s != starts[0] {
			t.Errorf("cut points differ between renditions: %v", starts)
		}
	}
	found := false
	for _, v := range master.Variants {
		found = found || v.Resolution == top
	}
	if !found {
		t.Errorf("no rendition of %s", top)
	}
}

// wantMedia checks one rendition and returns where its segments begin.
func wantMedia(t *testing.T, hls string, v *playlist.MultivariantVariant, seconds float64) string {
	t.Helper()
	var m playlist.Media
	unmarshal(t, &m, filepath.Join(hls, v.URI))
	if m.Version < 6 || !m.IndependentSegments || !m.Endlist || m.PlaylistType == nil || *m.PlaylistType != playlist.MediaPlaylistTypeVOD {
		t.Errorf("%s: %+v", v.URI, m)
	}
	frame := 1 / *v.FrameRate
	var longest, total, worst float64
	var starts []string
	for i, seg := range m.Segments {
		d := seg.Duration.Seconds()
		longest, total = max(longest, d), total+d
		info, frames := segmentStart(t, filepath.Join(hls, seg.URI))
		starts = append(starts, info)
		if math.Abs(d-float64(frames)*frame) > frame/10+0.001 {
			t.Errorf("%s: EXTINF %v, but %d frames of %v s", seg.URI, d, frames, frame)
		}
		if i < len(m.Segments)-1 && math.Abs(d-6) > frame+0.001 {
			t.Errorf("%s is %v s long", seg.URI, d)
		}
		if stat, err := os.Stat(filepath.Join(hls, seg.URI)); err != nil {
			t.Error(err)
		} else if d > 3 {
			worst = max(worst, float64(stat.Size())*8/d)
		}
	}
	if m.TargetDuration != max(int(math.Round(longest)), 1) {
		t.Errorf("%s: TARGETDURATION %d, longest segment %v", v.URI, m.TargetDuration, longest)
	}
	if float64(v.Bandwidth) < worst-1 {
		t.Errorf("%s: BANDWIDTH %d, a segment has %.0f", v.URI, v.Bandwidth, worst)
	}
	if math.Abs(total-seconds) > frame+0.1 {
		t.Errorf("%s: %v s long, want %v", v.URI, total, seconds)
	}
	return strings.Join(starts, " ")
}

func unmarshal(t *testing.T, p interface{ Unmarshal([]byte) error }, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = p.Unmarshal(data)
	}
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(path), err)
	}
}

// segmentStart checks that a segment opens on an IDR picture with its parameter sets, and returns the time stamp of its
// first picture and how many it has.
func segmentStart(t *testing.T, path string) (pts string, frames int) {
	t.Helper()
	annexB, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-c", "copy", "-f", "h264", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var sps, pps bool
	for _, nal := range bytes.Split(annexB, []byte{0, 0, 1})[1:] {
		kind := nal[0] & 0x1f
		sps, pps = sps || kind == 7, pps || kind == 8
		if kind == 1 || kind == 5 {
			if kind != 5 || !sps || !pps {
				t.Errorf("%s opens on NAL type %d, SPS %v, PPS %v", filepath.Base(path), kind, sps, pps)
			}
			break
		}
	}
	var p struct {
		Packets []struct {
			PTS json.Number `json:"pts"`
		}
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts", "-of", "json", path).Output()
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil || len(p.Packets) == 0 {
		t.Fatalf("%s: %v", filepath.Base(path), err)
	}
	first := int64(math.MaxInt64)
	for _, packet := range p.Packets {
		n, err := strconv.ParseInt(packet.PTS.String(), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = min(first, n)
	}
	return strconv.FormatInt(first, 10), len(p.Packets)
}

// wantLint has the linter judge what was published. What it notes is logged.
func wantLint(t *testing.T, folder string) {
	t.Helper()
	source, err := hls.NewSource(folder)
	if err != nil {
		t.Fatal(err)
	}
	report, err := hls.Lint(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		switch r.Verdict {
		case hls.Fail:
			t.Errorf("lint: %s: %s", r.Rule, r.Evidence)
		case hls.Note:
			t.Logf("lint notes %s: %s", r.Rule, r.Evidence)
		}
	}
}
