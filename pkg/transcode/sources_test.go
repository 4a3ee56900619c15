package transcode_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// original is a kind of video that people bring, and what must come out of it.
type original struct {
	name, contentType string
	path              func(t *testing.T) string
	size              string  // RESOLUTION of the best rendition
	rate              float64 // FRAME-RATE
	pictures          int     // in each rendition; a picture more or less may be lost in rounding
	sound             float64 // seconds, 0 for none
	corners           string  // upper left, upper right, lower left, lower right; not looked at if empty
}

// made makes a file with ffmpeg whenever it is asked for.
func made(name string, parts ...[]string) func(*testing.T) string {
	return func(t *testing.T) string { return clip(t, name, join(parts...)...) }
}

// corners is a picture with another colour in each: red, green, blue, white.
func corners() []string {
	return []string{"-f", "lavfi", "-i", "color=black:size=320x240:rate=25:duration=1,drawbox=0:0:iw/2:ih/2:red:fill," +
		"drawbox=iw/2:0:iw/2:ih/2:lime:fill,drawbox=0:ih/2:iw/2:ih/2:blue:fill,drawbox=iw/2:ih/2:iw/2:ih/2:white:fill"}
}

// turned makes a file whose picture a display matrix turns.
func turned(degrees string) func(*testing.T) string {
	return func(t *testing.T) string {
		return clip(t, "x.mp4", "-i", clip(t, "c.mp4", join(corners(), h264())...), "-c", "copy", "-metadata:s:v:0", "rotate="+degrees)
	}
}

func encoder(name string, args ...string) []string { return append([]string{"-c:v", name}, args...) }

func x265(args ...string) []string {
	return encoder("libx265", append([]string{"-preset", "ultrafast", "-x265-params", "log-level=none:pools=1"}, args...)...)
}

func hdr(transfer string) []string {
	return x265("-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc")
}

func small(rate string, seconds float64) []string { return picture("320x240", rate, seconds) }

const mp4, mkv, webm, avi = "video/mp4", "video/matroska", "video/webm", "video/x-msvideo"

// originals are all of them, each a second or three and small.
func originals() []original {
	list := []original{
		{"rotated-90", mp4, turned("270"), "240x320", 25, 25, 0, "BRWG"},
		{"rotated-180", mp4, turned("180"), "320x240", 25, 25, 0, "WBGR"},
		{"rotated-270", mp4, turned("90"), "240x320", 25, 25, 0, "GWRB"},
		{"rotated-by-tag", mkv, made("x.mkv", corners(), h264(), []string{"-metadata:s:v:0", "ROTATE=90"}), "240x320", 25, 25, 0, "BRWG"},
		{"upright", mp4, made("x.mp4", corners(), h264()), "320x240", 25, 25, 0, "RGBW"},
		{"portrait", mp4, made("x.mp4", picture("240x426", "25", 1), h264()), "240x426", 25, 25, 0, ""},
		{"square", mp4, made("x.mp4", picture("240x240", "25", 1), h264()), "240x240", 25, 25, 0, ""},
		{"odd-size", mp4, made("x.mp4", picture("321x241", "25", 1), encoder("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p")), "320x240", 25, 25, 0, ""},
		{"anamorphic", mp4, made("x.mp4", picture("352x288", "25", 1), []string{"-vf", "setsar=12/11"}, h264()), "320x240", 25, 25, 0, ""},
		{"smaller-than-240p", mp4, made("x.mp4", picture("160x120", "25", 1), h264()), "160x120", 25, 25, 0, ""},
		{"h264-444", mp4, made("x.mp4", small("25", 1), encoder("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p")), "320x240", 25, 25, 0, ""},
		{"h264-10-bit", mkv, made("x.mkv", small("25", 1), encoder("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le")), "320x240", 25, 25, 0, ""},
		{"h264-open-gop", mp4, made("x.mp4", small("25", 3), encoder("libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "20", "-x264-params", "open-gop=1")), "320x240", 25, 75, 0, ""},
		{"hevc-8-bit", mp4, made("x.mp4", small("25", 1), x265("-pix_fmt", "yuv420p")), "320x240", 25, 25, 0, ""},
		{"hevc-10-bit", mp4, made("x.mp4", small("25", 1), x265("-pix_fmt", "yuv420p10le")), "320x240", 25, 25, 0, ""},
		{"hdr-pq", mp4, made("x.mp4", corners(), hdr("smpte2084")), "320x240", 25, 25, 0, "RGBW"},
		{"hdr-hlg", mp4, made("x.mp4", corners(), hdr("arib-std-b67")), "320x240", 25, 25, 0, "RGBW"},
		{"vp8", webm, made("x.webm", small("25", 1), sound(1), encoder("libvpx", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libvorbis")), "320x240", 25, 25, 1, ""},
		{"vp9", webm, made("x.webm", small("25", 1), sound(1), encoder("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus")), "320x240", 25, 25, 1, ""},
		{"mpeg4-part-2", avi, made("x.avi", small("25", 1), sound(1), encoder("mpeg4", "-c:a", "libmp3lame")), "320x240", 25, 25, 1, ""},
		{"mjpeg", avi, made("x.avi", small("25", 1), sound(1), encoder("mjpeg", "-c:a", "pcm_s16le")), "320x240", 25, 25, 1, ""},
		{"avchd", "video/mp2t", avchd, "320x240", 25, 50, 2, ""},
		{"amr-3gp", "video/3gpp", threeGP, "176x144", 15, 15, 1, ""},
		{"variable-rate", mp4, made("x.mp4", small("30", 2), []string{"-vf", "select='lt(n,20)+not(mod(n,3))'", "-vsync", "vfr"}, h264()), "320x240", 30, 58, 0, ""},
		{"fps-120", mp4, made("x.mp4", small("120", 1), h264()), "320x240", 60, 60, 0, ""},
		{"claims-600-fps", "video/quicktime", made("x.mov", small("30", 2), []string{"-vf", "settb=1/600,setpts='floor(N*20.02+mod(N*7,3))'", "-vsync", "passthrough", "-enc_time_base", "1/600"},
			h264(), []string{"-bf", "0", "-video_track_timescale", "600"}), "320x240", 29.97, 60, 0, ""},
		{"mono-8-khz", mp4, made("x.mp4", small("25", 2), sound(2), h264(), aac(), []string{"-ar", "8000", "-ac", "1"}), "320x240", 25, 50, 2, ""},
		{"surround", mp4, made("x.mp4", small("25", 2), sound(2), h264(), aac(), []string{"-ac", "6", "-ar", "48000"}), "320x240", 25, 50, 2, ""},
		{"stereo-44-khz", mp4, made("x.mp4", small("25", 2), sound(2), h264(), aac(), []string{"-ac", "2"}), "320x240", 25, 50, 2, ""},
		{"sound-longer", mp4, made("x.mp4", small("25", 2), sound(3), h264(), aac()), "320x240", 25, 75, 3, ""},
		{"sound-shorter", mp4, made("x.mp4", small("25", 3), sound(1), h264(), aac()), "320x240", 25, 75, 3, ""},
		{"sound-late", mp4, made("x.mp4", small("25", 3), []string{"-itsoffset", "1"}, sound(1), []string{"-map", "0", "-map", "1"}, h264(), aac()), "320x240", 25, 75, 3, ""},
		{"picture-late", mkv, made("x.mkv", sound(3), []string{"-itsoffset", "1"}, small("25", 2), []string{"-map", "0", "-map", "1"}, h264(), aac()), "320x240", 25, 75, 3, ""},
		{"start-not-zero", "video/mp2t", made("x.ts", small("25", 2), sound(2), h264(), aac(), []string{"-output_ts_offset", "100"}), "320x240", 25, 50, 2, ""},
		{"edit-list", mp4, editList, "320x240", 25, 65, 2.6, ""},
		{"cover-art", mp4, coverArt, "320x240", 25, 50, 2, ""},
		{"data-stream", "video/quicktime", made("x.mov", small("25", 1), h264(), []string{"-timecode", "01:00:00:00"}), "320x240", 25, 25, 0, ""},
		{"sparse-key-frames", mp4, made("x.mp4", small("5", 13), h264(), []string{"-g", "1000"}), "320x240", 5, 65, 0, ""},
		{"one-frame", mp4, made("x.mp4", small("25", 0.04), h264()), "320x240", 25, 1, 0, ""},
		{"three-hours", mp4, made("x.mp4", picture("64x64", "1", 10800), h264()), "64x64", 1, 10800, 0, ""},
	}
	for _, r := range []struct {
		name, rate string
		float      float64
		pictures   int
	}{
		{"1", "1", 1, 8}, {"10", "10", 10, 80}, {"23.976", "24000/1001", 23.976, 192}, {"25", "25", 25, 200},
		{"29.97", "30000/1001", 29.97, 240}, {"50", "50", 50, 400}, {"59.94", "60000/1001", 59.94, 480},
	} {
		list = append(list, original{"fps-" + r.name, mp4, made("x.mp4", picture("160x120", r.rate, 8), sound(8), h264(), aac()), "160x120", r.float, r.pictures, 8, ""})
	}
	return list
}

// avchd is what a camcorder writes: interlaced, AC-3, subtitles, packets with a time in front.
func avchd(t *testing.T) string {
	subtitle := filepath.Join(t.TempDir(), "x.sup")
	if err := os.WriteFile(subtitle, []byte("PG\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	return clip(t, "x.mts", join(small("25", 2), sound(2), []string{"-i", subtitle, "-map", "0", "-map", "1", "-map", "2", "-flags", "+ildct+ilme", "-top", "1"},
		h264(), []string{"-c:a", "ac3", "-c:s", "copy", "-mpegts_m2ts_mode", "1", "-f", "mpegts"})...)
}

// threeGP is what an old phone writes. The sound is noise: frames of AMR with anything in them.
func threeGP(t *testing.T) string {
	speech := []byte("#!AMR\n")
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		speech = append(speech, 0x3c) // 12.2 kbit/s
		for range 31 {
			speech = append(speech, byte(random.Uint32()))
		}
	}
	path := filepath.Join(t.TempDir(), "x.amr")
	if err := os.WriteFile(path, speech, 0o600); err != nil {
		t.Fatal(err)
	}
	return clip(t, "x.3gp", join(picture("176x144", "15", 1), []string{"-i", path, "-c:v", "h263", "-c:a", "copy"})...)
}

// editList is cut without being encoded: it begins with a key frame, and says from which picture on it is to be shown.
func editList(t *testing.T) string {
	whole := clip(t, "e.mp4", join(small("25", 4), sound(4), h264(), []string{"-g", "25", "-bf", "2"}, aac())...)
	return clip(t, "x.mp4", "-ss", "1.4", "-i", whole, "-c", "copy")
}

func coverArt(t *testing.T) string {
	cover := clip(t, "c.png", join(picture("64x64", "1", 1), []string{"-frames:v", "1"})...)
	video := clip(t, "v.mp4", join(small("25", 2), sound(2), h264(), aac())...)
	return clip(t, "x.mp4", "-i", cover, "-i", video, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic", "-disposition:v:1", "default")
}
