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

// probe asks ffprobe about the file at path, whose container is forced to be demuxer.
func (t *Transcoder) probe(ctx context.Context, path, demuxer string) (Source, error) {
	args := append([]string{"-v", "error", "-show_format", "-show_streams", "-of", "json"}, input(demuxer, path)...)
	out, err := t.runner().output(ctx, "ffprobe", args...)
	if err != nil {
		return Source{}, err
	}
	s, err := ReadProbe(out, demuxer)
	if err != nil || s.Duration > 0 {
		return s, err
	}
	s.Duration, err = t.lastPicture(ctx, path, s)
	if err == nil && s.Duration > maxSeconds {
		err = tooLong()
	}
	return s, err
}

// lastPicture finds how long the picture of a file is whose container does not tell, such as what a browser has recorded, in
// seconds: by reading all of it. 0 is for a file that could not be read through in time.
func (t *Transcoder) lastPicture(ctx context.Context, path string, s Source) (float64, error) {
	list, err := t.packets(ctx, path, s, "pts_time")
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	last := 0.0
	for _, p := range list {
		last = max(last, seconds(p[0])-s.Start)
	}
	if err != nil || last == 0 {
		return 0, nil //nolint:nilerr // what cannot be read through may still be decoded
	}
	return last + 1/s.FrameRate.Float(), nil
}

// packets asks ffprobe for what it says of each packet of the picture, under names of its own with commas between them. more
// are further options. What it has said before it failed is there too.
func (t *Transcoder) packets(ctx context.Context, path string, s Source, names string, more ...string) (list [][]string, err error) {
	args := append([]string{"-v", "error", "-select_streams", fmt.Sprint(s.Video), "-show_entries", "packet=" + names, "-of", "csv=p=0"}, more...)
	out, err := t.runner().output(ctx, "ffprobe", append(args, input(s.Demuxer, path)...)...)
	for line := range strings.Lines(string(out)) {
		list = append(list, strings.Split(strings.TrimSpace(line), ","))
	}
	return list, err
}

// input names a file that somebody sent us: read as what we say it is, and able to lead to no other file or host.
func input(demuxer, path string) []string {
	return []string{"-protocol_whitelist", "file,pipe", "-analyzeduration", "20M", "-probesize", "50M", "-f", demuxer, "-i", "file:" + path}
}

// probed is what ffprobe says, with -show_format and -show_streams. The packets are there only if it was asked for them.
type probed struct {
	Streams []stream `json:"streams"`
	Packets []packet `json:"packets"`
	Format  struct {
		Start    string `json:"start_time"`
		Duration string `json:"duration"`
	} `json:"format"`
}

type stream struct {
	Index        int               `json:"index"`
	Type         string            `json:"codec_type"`
	Codec        string            `json:"codec_name"`
	Profile      string            `json:"profile"`
	Level        int               `json:"level"`
	Width        int               `json:"width"`
	Height       int               `json:"height"`
	SampleAspect string            `json:"sample_aspect_ratio"`
	PixelFormat  string            `json:"pix_fmt"`
	FieldOrder   string            `json:"field_order"`
	Range        string            `json:"color_range"`
	Transfer     string            `json:"color_transfer"`
	AvgRate      string            `json:"avg_frame_rate"`
	BaseRate     string            `json:"r_frame_rate"`
	Start        string            `json:"start_time"`
	Duration     string            `json:"duration"`
	Frames       string            `json:"nb_frames"`
	BitRate      string            `json:"bit_rate"`
	SampleRate   string            `json:"sample_rate"`
	Channels     int               `json:"channels"`
	Disposition  map[string]int    `json:"disposition"`
	Tags         map[string]string `json:"tags"`
	SideData     []struct {
		Rotation *float64 `json:"rotation"`
	} `json:"side_data_list"`
}

type packet struct {
	Stream int    `json:"stream_index"`
	Time   string `json:"pts_time"`
	Flags  string `json:"flags"`
}

// ReadProbe reads what ffprobe says about a file. An error of the kind vault.Unprocessable is a refusal, with a reason for
// people.
func ReadProbe(answer []byte, demuxer string) (Source, error) {
	var p probed
	if err := json.Unmarshal(answer, &p); err != nil {
		return Source{}, fmt.Errorf("read what ffprobe says: %w", err)
	}
	return p.source(demuxer)
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

// late is how much later than the file the stream begins.
func (st stream) late(fileStart string) float64 {
	own, errOwn := strconv.ParseFloat(st.Start, 64)
	file, errFile := strconv.ParseFloat(fileStart, 64)
	if late := own - file; errOwn == nil && errFile == nil && late > 0 && late < maxSeconds {
		return late
	}
	return 0
}

// end is when the stream ends, on a clock that starts with the file: a stream may begin later than another.
func (st stream) end(fileStart string) float64 {
	if d := st.seconds(); d > 0 {
		return d + st.late(fileStart)
	}
	return 0
}

// announcesDuration reports whether a container says in its header how long it is. Others are estimated, and prove
// nothing when less comes out.
func announcesDuration(demuxer string) bool {
	return demuxer == "mov" || demuxer == "matroska" || demuxer == "avi" || demuxer == "flv" || demuxer == "asf"
}

// clockJumps reports whether a container's clock may begin anew in the middle of a file, as broadcasts and cameras have it.
func clockJumps(demuxer string) bool { return demuxer == "mpegts" || demuxer == "mpeg" }

// displaySize is the size of a frame with square pixels, after rotation, the turn that ffmpeg makes by itself, which it
// does where there is a display matrix, and the one that it will not make. Both are in degrees clockwise.
func (st stream) displaySize() (width, height, byMatrix, byTag int) {
	width, height = st.Width, st.Height
	if sar := parseRational(st.SampleAspect, ":"); sar.Float() > 0 {
		width = int(math.Round(float64(width) * sar.Float()))
	}
	for name, value := range st.Tags {
		if tag, err := strconv.ParseFloat(value, 64); err == nil && strings.EqualFold(name, "rotate") {
			byTag = rightAngle(tag)
		}
	}
	for _, d := range st.SideData {
		if d.Rotation != nil { // counterclockwise
			byMatrix, byTag = rightAngle(-*d.Rotation), 0
		}
	}
	if (byMatrix+byTag)%180 != 0 {
		width, height = height, width
	}
	return max(width, 1), max(height, 1), byMatrix, byTag
}

// rightAngle returns the nearest of 0, 90, 180 and 270 degrees.
func rightAngle(degrees float64) int {
	if math.IsNaN(degrees) || math.Abs(degrees) > 3600 {
		return 0
	}
	return (int(math.Round(degrees/90))*90%360 + 360) % 360
}

func seconds(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0
	}
	return f
}

// number is a whole number of ffprobe's, which it writes as a text; 0 if it is none.
func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0
	}
	return n
}
