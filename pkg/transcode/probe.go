package transcode

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// demuxers maps the media types that are accepted to the ffmpeg demuxer that is forced on their files. What is not here,
// such as a playlist, a concat script or an image sequence, is never given to ffmpeg: those name other files.
var demuxers = map[string]string{
	"video/mp4": "mov", "video/quicktime": "mov", "video/x-m4v": "mov", "video/3gpp": "mov", "video/3gpp2": "mov",
	"video/webm": "matroska", "video/matroska": "matroska",
	"video/x-msvideo": "avi", "video/mpeg": "mpeg", "video/mp2t": "mpegts", "video/x-flv": "flv",
	"video/ogg": "ogg", "application/ogg": "ogg", "video/x-ms-asf": "asf",
}

// Demuxer returns the ffmpeg demuxer for a sniffed media type; the second result is false for what is no video here.
func Demuxer(contentType string) (string, bool) {
	d, ok := demuxers[contentType]
	return d, ok
}

// Source is what ffprobe says about an original.
type Source struct {
	Demuxer       string
	Video         int // index of the chosen video stream
	Audio         int // index of the chosen audio stream, -1 for none
	Width, Height int // of a frame as it is to be displayed: rotated, with square pixels
	Turn          int // degrees clockwise to turn it where only a tag says so: ffmpeg itself obeys only display matrices
	FrameRate     Rational
	Duration      float64 // seconds until the picture ends; 0 if the container does not say
	SoundDuration float64 // seconds until the sound ends
}

// Rational is a fraction, such as 30000/1001 frames per second.
type Rational struct{ Num, Den int64 }

// Float returns the fraction as a number, 0 if it has none.
func (r Rational) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

func (r Rational) String() string { return fmt.Sprintf("%d/%d", r.Num, r.Den) }

func parseRational(s, separator string) Rational {
	num, den, ok := strings.Cut(s, separator)
	n, err1 := strconv.ParseInt(num, 10, 64)
	d, err2 := strconv.ParseInt(den, 10, 64)
	if !ok || err1 != nil || err2 != nil || n <= 0 || d <= 0 {
		return Rational{}
	}
	return Rational{n, d}
}

type probed struct {
	Streams []stream `json:"streams"`
	Format  struct {
		Start    string `json:"start_time"`
		Duration string `json:"duration"`
	} `json:"format"`
}

type stream struct {
	Index        int               `json:"index"`
	Type         string            `json:"codec_type"`
	Codec        string            `json:"codec_name"`
	Width        int               `json:"width"`
	Height       int               `json:"height"`
	SampleAspect string            `json:"sample_aspect_ratio"`
	AvgRate      string            `json:"avg_frame_rate"`
	BaseRate     string            `json:"r_frame_rate"`
	Start        string            `json:"start_time"`
	Duration     string            `json:"duration"`
	Channels     int               `json:"channels"`
	Disposition  map[string]int    `json:"disposition"`
	Tags         map[string]string `json:"tags"`
	SideData     []struct {
		Rotation *float64 `json:"rotation"`
	} `json:"side_data_list"`
}

// probe asks ffprobe about the file at path, whose container is forced to be demuxer.
func (t *Transcoder) probe(ctx context.Context, path, demuxer string) (Source, error) {
	args := append([]string{"-v", "error", "-show_format", "-show_streams", "-of", "json"}, input(demuxer, path)...)
	out, err := t.runner().output(ctx, "ffprobe", args...)
	if err != nil {
		return Source{}, err
	}
	var p probed
	if err := json.Unmarshal(out, &p); err != nil {
		return Source{}, fmt.Errorf("read what ffprobe says: %w", err)
	}
	return p.source(demuxer)
}

// input names a file that somebody sent us: read as what we say it is, and able to lead to no other file or host.
func input(demuxer, path string) []string {
	return []string{"-protocol_whitelist", "file,pipe", "-analyzeduration", "20M", "-probesize", "50M", "-f", demuxer, "-i", "file:" + path}
}

func (p probed) source(demuxer string) (Source, error) {
	s := Source{Demuxer: demuxer, Video: -1, Audio: -1}
	var video, audio stream
	for _, st := range p.Streams {
		switch {
		case s.Video < 0 && st.Type == "video" && st.known() && st.Disposition["attached_pic"] == 0 && st.Width > 0 && st.Height > 0:
			video, s.Video = st, st.Index
		case s.Audio < 0 && st.Type == "audio" && st.known() && st.Channels > 0:
			audio, s.Audio = st, st.Index
		}
	}
	if s.Video < 0 {
		return s, permanent("the file has no video stream that can be decoded")
	}
	s.Width, s.Height, s.Turn = video.displaySize()
	s.FrameRate = video.frameRate()
	whole := seconds(p.Format.Duration)
	s.Duration, s.SoundDuration = video.end(p.Format.Start), audio.end(p.Format.Start)
	if s.Duration == 0 || whole > 0 && whole < s.Duration {
		s.Duration = whole
	}
	// Beyond these nobody filmed it: it was made to fill a disk or a memory.
	if s.Width*s.Height > maxPixels {
		return s, permanent("the picture is too large")
	}
	if max(s.Duration, s.SoundDuration) > maxSeconds {
		return s, permanent("the video is longer than a day")
	}
	return s, nil
}

const (
	maxPixels  = 64 << 20
	maxSeconds = 24 * 60 * 60
)

func (st stream) known() bool { return st.Codec != "" && st.Codec != "unknown" && st.Codec != "none" }

// seconds is how long the stream is; Matroska says it in a tag.
func (st stream) seconds() float64 {
	if d := seconds(st.Duration); d > 0 {
		return d
	}
	var h, m int
	var s float64
	if n, _ := fmt.Sscanf(st.Tags["DURATION"], "%d:%d:%f", &h, &m, &s); n != 3 || h < 0 || m < 0 || !(s >= 0) {
		return 0
	}
	return float64(h)*3600 + float64(m)*60 + s
}

// end is when the stream ends, on a clock that starts with the file: a stream may begin later than another.
func (st stream) end(fileStart string) float64 {
	d := st.seconds()
	own, errOwn := strconv.ParseFloat(st.Start, 64)
	file, errFile := strconv.ParseFloat(fileStart, 64)
	if late := own - file; d > 0 && errOwn == nil && errFile == nil && late > 0 && late < maxSeconds {
		d += late
	}
	return d
}

// announcesDuration reports whether a container says in its header how long it is. Others are estimated, and prove
// nothing when less comes out.
func announcesDuration(demuxer string) bool {
	return demuxer == "mov" || demuxer == "matroska" || demuxer == "avi" || demuxer == "flv" || demuxer == "asf"
}

// displaySize is the size of a frame with square pixels, after rotation, and the turn that ffmpeg will not make itself.
func (st stream) displaySize() (width, height, turn int) {
	width, height = st.Width, st.Height
	if sar := parseRational(st.SampleAspect, ":"); sar.Float() > 0 {
		width = int(math.Round(float64(width) * sar.Float()))
	}
	tag, _ := strconv.ParseFloat(st.Tags["rotate"], 64)
	rotation := rightAngle(tag)
	turn = rotation
	for _, d := range st.SideData {
		if d.Rotation != nil {
			rotation, turn = rightAngle(*d.Rotation), 0
		}
	}
	if rotation%180 != 0 {
		width, height = height, width
	}
	return max(width, 1), height, turn
}

// rightAngle returns the nearest of 0, 90, 180 and 270 degrees.
func rightAngle(degrees float64) int {
	if math.IsNaN(degrees) || math.Abs(degrees) > 3600 {
		return 0
	}
	return (int(math.Round(degrees/90))*90%360 + 360) % 360
}

const (
	maxRate = 60
	minRate = 1 // below it six seconds could pass without a frame to cut at
)

// frameRate is the constant rate of the output: the source's own average, at most 60. What the container claims as its
// base rate may be its clock.
func (st stream) frameRate() Rational {
	r := parseRational(st.AvgRate, "/")
	if r.Float() == 0 {
		r = parseRational(st.BaseRate, "/")
	}
	if r.Float() == 0 || r.Float() > 1000 {
		return Rational{30, 1}
	}
	for r.Float() > maxRate*1.001 { // 120 becomes 60: every second frame goes
		r.Den *= 2
	}
	for _, standard := range []Rational{{24000, 1001}, {24, 1}, {25, 1}, {30000, 1001}, {30, 1}, {50, 1}, {60000, 1001}, {60, 1}} {
		if math.Abs(r.Float()/standard.Float()-1) < 0.0005 {
			return standard
		}
	}
	if r.Float() < minRate {
		return Rational{minRate, 1}
	}
	return round(r)
}

// round keeps the clock that the rate makes coarse enough for time stamps to be exact.
func round(r Rational) Rational {
	if r.Den <= 1001 && r.Num <= 60000 {
		return r
	}
	return Rational{int64(math.Round(r.Float() * 1000)), 1000}
}

func seconds(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0
	}
	return f
}
