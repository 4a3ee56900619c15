package hls_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pulsevault/pkg/hls"
	"pulsevault/pkg/mpegts"
)

// rung is a variant to be made. What is not set is as in all others.
type rung struct {
	name, size, codecs string
	seconds, sound     float64 // of picture and of sound; no sound is less than 0
	cut                int     // seconds of a segment
	encode             []string
}

func low() rung {
	return rung{name: "low", size: "160x120", seconds: 4.6, sound: 4.6, cut: 2, codecs: "avc1.64000d,mp4a.40.2"}
}

func high() rung {
	r := low()
	r.name, r.size = "high", "320x240"
	return r
}

func (r rung) with(change func(*rung)) rung {
	change(&r)
	return r
}

// publish makes a video of these rungs that breaks no rule but what is asked for, and returns its folder.
func publish(t *testing.T, rungs ...rung) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	dir := t.TempDir()
	master := "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n"
	for _, r := range rungs {
		r.make(t, dir)
		average, peak := r.bandwidth(t, dir)
		master += fmt.Sprintf("#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=\"%s\",RESOLUTION=%s,FRAME-RATE=25.000\n%s.m3u8\n",
			peak, average, r.codecs, r.size, r.name)
	}
	write(t, filepath.Join(dir, "master.m3u8"), master)
	return dir
}

func (r rung) make(t *testing.T, dir string) {
	t.Helper()
	args := []string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=25:duration=%g", r.size, r.seconds)}
	if r.sound >= 0 {
		args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("sine=sample_rate=48000:duration=%g", r.sound), "-ac", "2", "-c:a", "aac")
	}
	args = append(args, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-profile:v", "high", "-level", "1.3", "-threads", "1",
		"-x264-params", "8x8dct=1", "-force_key_frames", fmt.Sprintf("expr:gte(t,n_forced*%d)", r.cut), "-forced-idr", "1", "-g", "1000")
	args = append(args, r.encode...)
	args = append(args, "-f", "hls", "-hls_time", fmt.Sprint(r.cut), "-hls_playlist_type", "vod",
		"-hls_segment_filename", filepath.Join(dir, r.name+"_%03d.ts"), filepath.Join(dir, r.name+".m3u8"))
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", r.name, err, out)
	}
}

var extinf = regexp.MustCompile(`#EXTINF:([0-9.]+),\n(.*)\n`)

// bandwidth is the average and the peak of segments that are as long as the target, but for a last one that is shorter
// than half of it: the peak is of one of the others, or of the last two.
func (r rung) bandwidth(t *testing.T, dir string) (average, peak int) {
	t.Helper()
	var bits, seconds, highest, before, lasted float64
	for _, m := range extinf.FindAllStringSubmatch(read(t, filepath.Join(dir, r.name+".m3u8")), -1) {
		d, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		size := 8 * float64(len(read(t, filepath.Join(dir, m[2]))))
		bits, seconds = bits+size, seconds+d
		if d > float64(r.cut)/2 {
			highest = max(highest, size/d)
		} else {
			highest = max(highest, (before+size)/(lasted+d))
		}
		before, lasted = size, d
	}
	return int(math.Ceil(bits / seconds)), int(math.Ceil(highest))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit replaces the first old in a file.
func edit(t *testing.T, path, old, with string) {
	t.Helper()
	before := read(t, path)
	if !strings.Contains(before, old) {
		t.Fatalf("%s has no %q", filepath.Base(path), old)
	}
	write(t, path, strings.Replace(before, old, with, 1))
}

// packet finds the first packet of a segment that change accepts, after some have been passed over, and has it change it.
func packet(t *testing.T, path string, skip int, change func(p []byte) bool) {
	t.Helper()
	data := []byte(read(t, path))
	for i := 0; i+mpegts.PacketSize <= len(data); i += mpegts.PacketSize {
		p := append([]byte{}, data[i:i+mpegts.PacketSize]...)
		if change(p) {
			if skip == 0 {
				copy(data[i:], p)
				write(t, path, string(data))
				return
			}
			skip--
		}
	}
	t.Fatalf("%s has no such packet", filepath.Base(path))
}

// begins reports whether a packet begins one of the elementary stream whose id is kind, and returns that.
func begins(p []byte, kind byte) (pes []byte, ok bool) {
	at := 4
	if p[3]&0x20 != 0 {
		at += 1 + int(p[4])
	}
	if p[1]&0x40 == 0 || at+14 > len(p) || p[at] != 0 || p[at+1] != 0 || p[at+2] != 1 || p[at+3] != kind {
		return nil, false
	}
	return p[at:], true
}

const videoStream, audioStream = 0xe0, 0xc0

// delay makes the packet of a stream after some others be shown later, by units of a time stamp.
func delay(t *testing.T, path string, kind byte, skip int, by int64) {
	t.Helper()
	packet(t, path, skip, func(p []byte) bool {
		pes, ok := begins(p, kind)
		if !ok {
			return false
		}
		b := pes[9:14]
		at := (int64(b[0]>>1&7)<<30 | int64(b[1])<<22 | int64(b[2]>>1)<<15 | int64(b[3])<<7 | int64(b[4]>>1)) + by
		b[0], b[1], b[2] = b[0]&0xf1|byte(at>>30)<<1, byte(at>>22), byte(at>>15)<<1|1
		b[3], b[4] = byte(at>>7), byte(at)<<1|1
		return true
	})
}

func lint(t *testing.T, place string) hls.Report {
	t.Helper()
	source, err := hls.NewSource(place)
	if err != nil {
		t.Fatal(err)
	}
	report, err := hls.Lint(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func table(t *testing.T, r hls.Report) string {
	t.Helper()
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
