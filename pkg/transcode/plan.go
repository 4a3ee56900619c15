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
	Copied        bool // the picture is the source's own, and only the sound is encoded
}

// Plan is what is to be done with a source. Making one is pure. String says all of it.
type Plan struct {
	Source      Source
	Deinterlace bool
	ToneMap     string      // PQ or HLG, if the picture is brighter than others can show
	Hold        float64     // seconds that the last picture stays, to last as long as the sound
	Pad         float64     // seconds that the sound is to last, with silence at its end; 0 leaves it as it is
	Renditions  []Rendition // lowest first
	Cuts        []int64     // the pictures that segments begin with, where the source is cut too; none says every segmentSeconds
	Copy        Copy
}

// soundFrame is how long a frame of AAC is, in seconds.
const soundFrame = 1024.0 / 48000

// dynamicRanges names the ways to store a picture that is brighter than others can show, by ffprobe's name of them.
var dynamicRanges = map[string]string{"smpte2084": "PQ", "arib-std-b67": "HLG"}

// segmentSeconds is the length of a segment; each begins with a key frame, at the same times in every rendition.
const segmentSeconds = 6

// MakePlan chooses the rungs whose short side is not longer than the source's. A source smaller than all of them gets one
// rendition of its own size, under the bit rates of the lowest.
func MakePlan(s Source, ladder []Rung) Plan {
	p := Plan{Source: s, Deinterlace: s.Interlaced, ToneMap: dynamicRanges[s.Transfer]}
	// Less than a picture, or the padding of sound encoders, is no difference.
	if more := s.SoundDuration - s.Duration; s.Duration > 0 && more > max(0.05, 1/max(s.FrameRate.Float(), 1)) {
		p.Hold = more
	}
	// Where lengths are estimated, silence could go on long after the picture.
	if s.Audio >= 0 && announcesDuration(s.Demuxer) && s.SoundDuration > 0 && p.seconds()-s.SoundDuration > soundFrame {
		p.Pad = p.seconds()
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
	p.Copy = copyOf(p)
	for i, r := range p.Renditions {
		if r.Name == p.Copy.Rung {
			p.Renditions[i].Copied, p.Cuts = true, p.Copy.Cuts
		}
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

// seconds is how long the output is meant to be, 0 if the source does not say.
func (p Plan) seconds() float64 { return p.Source.Duration + p.Hold }

// frames is how many pictures the output is meant to have, 0 if the source does not say how long it is.
func (p Plan) frames() int64 {
	return int64(math.Round(p.seconds() * p.Source.FrameRate.Float()))
}

// Cut is the number of the picture that segment n begins with, the same in every rendition: the first one that is not shown
// before its time, unless the cuts are the source's. It is counted and not measured, so no rounding adds up.
func (p Plan) Cut(n int64) int64 {
	switch rate := p.Source.FrameRate; {
	case p.Cuts == nil:
		return (n*segmentSeconds*rate.Num + rate.Den - 1) / rate.Den
	case n < int64(len(p.Cuts)):
		return p.Cuts[n]
	}
	return p.frames()
}

// segments is how many segments there are meant to be, 0 if the source does not say how long it is.
func (p Plan) segments() (n int64) {
	if p.Cuts != nil {
		return int64(len(p.Cuts))
	}
	for p.Cut(n) < p.frames() {
		n++
	}
	return n
}

// longest is how many pictures a segment has at most.
func (p Plan) longest() int64 {
	most := int64(math.Ceil(segmentSeconds * p.Source.FrameRate.Float()))
	for n := range p.Cuts {
		most = max(most, p.Cut(int64(n)+1)-p.Cut(int64(n)))
	}
	return most
}

// encoded are the renditions whose picture is encoded.
func (p Plan) encoded() []Rendition {
	return slices.DeleteFunc(slices.Clone(p.Renditions), func(r Rendition) bool { return r.Copied })
}
