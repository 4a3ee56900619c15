package transcode

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Rung is one step of the ladder.
type Rung struct {
	Name         string
	ShortSide    int // pixels
	VideoBitRate int // bits per second, at most on average
	AudioBitRate int // bits per second
}

// Ladder lists every rung there is, lowest first.
func Ladder() []Rung {
	return []Rung{
		{"240p", 240, 400_000, 64_000},
		{"360p", 360, 800_000, 96_000},
		{"480p", 480, 1_400_000, 128_000},
		{"720p", 720, 2_800_000, 128_000},
		{"1080p", 1080, 5_000_000, 192_000},
	}
}

// ParseRenditions picks rungs by name from a list with commas; an empty list picks all.
func ParseRenditions(s string) ([]Rung, error) {
	if strings.TrimSpace(s) == "" {
		return Ladder(), nil
	}
	picked := map[string]bool{}
	for name := range strings.SplitSeq(s, ",") {
		picked[strings.TrimSpace(name)] = true
	}
	var rungs []Rung
	var names []string
	for _, r := range Ladder() {
		names = append(names, r.Name)
		if picked[r.Name] {
			rungs = append(rungs, r)
			delete(picked, r.Name)
		}
	}
	if len(picked) > 0 {
		return nil, fmt.Errorf("names from %s with commas between them", strings.Join(names, ","))
	}
	return rungs, nil
}

// Rendition is one encoding that is to be made.
type Rendition struct {
	Name          string
	Width, Height int // even
	VideoBitRate  int
	AudioBitRate  int
}

// Plan is what is to be done with a source. Making one is pure.
type Plan struct {
	Source     Source
	Hold       float64     // seconds that the last picture stays, to last as long as the sound
	Renditions []Rendition // lowest first
}

// segmentSeconds is the length of a segment; each begins with a key frame, at the same times in every rendition.
const segmentSeconds = 6

// MakePlan chooses the rungs whose short side is not longer than the source's. A source smaller than all of them gets one
// rendition of its own size, under the bit rates of the lowest.
func MakePlan(s Source, ladder []Rung) Plan {
	p := Plan{Source: s}
	// Less is the sound encoder's padding.
	if more := s.SoundDuration - s.Duration; s.Duration > 0 && more > 0.5 {
		p.Hold = more
	}
	short := min(s.Width, s.Height)
	ladder = slices.SortedFunc(slices.Values(ladder), func(a, b Rung) int { return a.ShortSide - b.ShortSide })
	for _, r := range ladder {
		// One line less is lost in making sizes even.
		if r.ShortSide <= short+1 {
			p.Renditions = append(p.Renditions, rendition(s, r, min(r.ShortSide, even(float64(short)))))
		}
	}
	if len(p.Renditions) == 0 {
		side := even(float64(short))
		r := ladder[0]
		r.Name = fmt.Sprintf("%dp", side)
		p.Renditions = []Rendition{rendition(s, r, side)}
	}
	return p
}

func rendition(s Source, r Rung, short int) Rendition {
	long := even(float64(short) * float64(max(s.Width, s.Height)) / float64(min(s.Width, s.Height)))
	out := Rendition{Name: r.Name, Width: long, Height: short, VideoBitRate: r.VideoBitRate, AudioBitRate: r.AudioBitRate}
	if s.Height > s.Width {
		out.Width, out.Height = short, long
	}
	return out
}

// even rounds to the nearest even number of pixels, at least 2.
func even(x float64) int { return max(2, 2*int(math.Round(x/2-0.001))) }

// arguments is the command line of ffmpeg that makes all renditions of the plan, with one decode, in its working
// directory.
func (p Plan) arguments(path string, threads int, segmentName func(rendition string) string) []string {
	args := []string{"-max_pixels", fmt.Sprint(maxPixels), "-dn", "-sn"}
	if threads > 0 {
		args = append(args, "-threads", fmt.Sprint(threads))
	}
	args = append(args, input(p.Source.Demuxer, path)...)
	args = append(args, "-filter_complex", p.filter())
	if p.Source.Audio >= 0 {
		args = append(args, "-filter_complex", p.soundFilter())
	}
	for i, r := range p.Renditions {
		args = append(args, "-map", fmt.Sprintf("[v%d]", i), "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high",
			"-crf", "22", "-maxrate", fmt.Sprint(r.VideoBitRate*11/10), "-bufsize", fmt.Sprint(r.VideoBitRate*2),
			// Key frames where the clock says and nowhere else: that is where hls cuts. The little more than t makes up for
			// rounding, which would put one a frame later.
			"-force_key_frames", fmt.Sprintf("expr:gte(t+0.000001,n_forced*%d)", segmentSeconds), "-forced-idr", "1",
			"-sc_threshold", "0", "-g", fmt.Sprint(p.keyFrames()), "-flags", "+cgop")
		if p.Source.FrameRate.Float() < 5 {
			// A picture that waits for a later one would be decoded before the clock of the stream starts, at 0.
			args = append(args, "-bf", "0")
		}
		if threads > 0 {
			args = append(args, "-threads", fmt.Sprint(threads))
		}
		if p.Source.Audio >= 0 {
			args = append(args, "-map", fmt.Sprintf("[a%d]", i), "-c:a", "aac", "-ac", "2", "-ar", "48000", "-b:a", fmt.Sprint(r.AudioBitRate))
		}
		args = append(args, "-map_metadata", "-1", "-map_chapters", "-1", "-f", "hls", "-hls_time", fmt.Sprint(segmentSeconds),
			"-hls_list_size", "0", "-hls_playlist_type", "vod", "-hls_segment_type", "mpegts",
			"-hls_segment_filename", segmentName(r.Name), r.Name+".m3u8")
	}
	return args
}

// keyFrames is the greatest distance of key frames: never less than a segment has.
func (p Plan) keyFrames() int { return int(math.Ceil(segmentSeconds * p.Source.FrameRate.Float())) }

// seconds is how long the output is meant to be, 0 if the source does not say.
func (p Plan) seconds() float64 { return p.Source.Duration + p.Hold }

// soundFilter makes sound that begins at 0, as the picture does, with silence in its gaps, so that the two stay together.
func (p Plan) soundFilter() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[0:%d]aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo,asplit=%d", p.Source.Audio, len(p.Renditions))
	for i := range p.Renditions {
		fmt.Fprintf(&b, "[a%d]", i)
	}
	return b.String()
}

// filter makes one picture per rendition: constant rate, square pixels, 8 bit 4:2:0. Frames are on a grid that begins at
// 0, else the cuts would not fall on it.
func (p Plan) filter() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[0:%d]", p.Source.Video)
	b.WriteString(map[int]string{90: "transpose=clock,", 180: "hflip,vflip,", 270: "transpose=cclock,"}[p.Source.Turn])
	fmt.Fprintf(&b, "fps=%s:start_time=0,", p.Source.FrameRate)
	if p.Hold > 0 {
		fmt.Fprintf(&b, "tpad=stop_mode=clone:stop_duration=%.3f,", p.Hold)
	}
	fmt.Fprintf(&b, "split=%d", len(p.Renditions))
	for i := range p.Renditions {
		fmt.Fprintf(&b, "[s%d]", i)
	}
	for i, r := range p.Renditions {
		fmt.Fprintf(&b, ";[s%d]scale=%d:%d:flags=bicubic:out_range=tv,setsar=1,format=yuv420p[v%d]", i, r.Width, r.Height, i)
	}
	return b.String()
}
