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
	"video/webm": "matroska", "video/x-matroska": "matroska",
	"video/x-msvideo": "avi", "video/mpeg": "mpeg", "video/mp2t": "mpegts", "video/x-flv": "flv",
	"video/ogg": "ogg", "application/ogg": "ogg", "video/x-ms-wmv": "asf", "video/x-ms-asf": "asf",
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
	FrameRate     Rational
	Duration      float64 // seconds
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
	Duration     string            `json:"duration"`
	Channels     int               `json:"channels"`
	Disposition  map[string]int    `json:"disposition"`
	Tags         map[string]string `json:"tags"`
	SideData     []struct {
		Rotation float64 `json:"rotation"`
	} `json:"side_data_list"`
}

// probe asks ffprobe about the file at path, whose container is forced to be demuxer.
func (t *Transcoder) probe(ctx context.Context, path, demuxer string) (Source, error) {
	out, err := t.runner().output(ctx, "ffprobe", "-v", "error", "-protocol_whitelist", "file,pipe", "-f", demuxer,
		"-show_format", "-show_streams", "-of", "json", "-i", "file:"+path)
	if err != nil {
		return Source{}, err
	}
	var p probed
	if err := json.Unmarshal(out, &p); err != nil {
		return Source{}, fmt.Errorf("read what ffprobe says: %w", err)
	}
	return p.source(demuxer)
}

func (p probed) source(demuxer string) (Source, error) {
	s := Source{Demuxer: demuxer, Video: -1, Audio: -1}
	var video stream
	for _, st := range p.Streams {
		switch {
		case s.Video < 0 && st.Type == "video" && st.Disposition["attached_pic"] == 0 && st.Width > 0 && st.Height > 0:
			video, s.Video = st, st.Index
		case s.Audio < 0 && st.Type == "audio" && st.Codec != "" && st.Channels > 0:
			s.Audio = st.Index
		}
	}
	if s.Video < 0 {
		return s, permanent("the file has no video stream that can be decoded")
	}
	s.Width, s.Height = video.displaySize()
	s.FrameRate = video.frameRate()
	s.Duration = seconds(p.Format.Duration)
	if d := seconds(video.Duration); d > 0 && s.Duration == 0 {
		s.Duration = d
	}
	return s, nil
}

// displaySize is the size of a frame with square pixels, after rotation.
func (st stream) displaySize() (width, height int) {
	width, height = st.Width, st.Height
	if sar := parseRational(st.SampleAspect, ":"); sar.Float() > 0 {
		width = int(math.Round(float64(width) * sar.Float()))
	}
	rotation, _ := strconv.ParseFloat(st.Tags["rotate"], 64)
	for _, d := range st.SideData {
		if d.Rotation != 0 {
			rotation = d.Rotation
		}
	}
	if quarter := int(math.Round(math.Abs(rotation) / 90)); quarter%2 == 1 {
		width, height = height, width
	}
	return max(width, 1), height
}

const maxRate = 60

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
	for _, standard := range []Rational{{24000, 1001}, {24, 1}, {25, 1}, {30000, 1001}, {30, 1}, {50, 1}, {60000, 1001}, {60, 1}} {
		if math.Abs(r.Float()/standard.Float()-1) < 0.0005 {
			return standard
		}
	}
	for r.Float() > maxRate {
		r.Den *= 2
	}
	if r.Float() < 0.1 {
		return Rational{1, 10}
	}
	return r
}

func seconds(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0
	}
	return f
}
