package transcode

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Copy says whether a source can be cut into HLS without being encoded again, as far as its container tells: that each cut
// is an IDR picture with its parameter sets only shows in the bytes.
type Copy struct {
	OK     bool
	Reason string  // why not
	Rung   string  // the rendition that the copied picture could be, none if it is a variant of its own
	Cuts   []int64 // the pictures at which it, and then every rendition, is to be cut: key frames
}

// maxKeyDistance is how far apart key frames may be, in seconds: no segment could be shorter.
const maxKeyDistance = 10

func copyOf(p Plan) Copy {
	s := p.Source
	if reason := cmp.Or(s.unfitForCopy(), keysForCopy(s)); reason != "" {
		return Copy{Reason: reason}
	}
	c := Copy{OK: true, Cuts: keyCuts(s)}
	for _, r := range p.Renditions {
		// A picture that is to be held has more frames than there are.
		if p.Hold == 0 && r.Width == s.Coded[0] && r.Height == s.Coded[1] && s.BitRate > 0 && s.BitRate <= r.VideoBitRate*11/10 {
			c.Rung = r.Name
		}
	}
	return c
}

// unfitForCopy says why a source cannot be copied, wherever its key frames may be.
func (s Source) unfitForCopy() string {
	return cmp.Or(pictureForCopy(s), shapeForCopy(s), timeForCopy(s), soundForCopy(s))
}

// pictureForCopy wants an encoding that every player has.
func pictureForCopy(s Source) string {
	codec, profile, _ := strings.Cut(s.Codec, " ")
	switch {
	case codec != "h264":
		return "its picture is not H.264"
	case !slices.Contains([]string{"Constrained Baseline", "Baseline", "Main", "High", "Progressive High", "Constrained High"}, profile):
		return "not every player has its profile of H.264"
	case s.PixelFormat != "yuv420p":
		return "its picture is not 8-bit 4:2:0"
	case s.FullRange:
		return "its colours use the full range"
	case s.Level > 52:
		return "its level of H.264 is too high"
	}
	return ""
}

func shapeForCopy(s Source) string {
	switch {
	case s.Matrix != 0 || s.Turn != 0:
		return "its picture must be turned"
	case s.Interlaced:
		return "it is interlaced"
	case s.Aspect != Rational{} && s.Aspect.Num != s.Aspect.Den:
		return "its pixels are not square"
	case dynamicRanges[s.Transfer] != "":
		return "its dynamic range is high"
	}
	return ""
}

// timeForCopy wants pictures that are on the grid of the other renditions already.
func timeForCopy(s Source) string {
	switch {
	case !slices.Contains([]string{"mov", "matroska", "mpegts", "flv"}, s.Demuxer):
		return "its container has no time stamp for each picture"
	case s.Variable:
		return "its frame rate varies"
	case s.Halved:
		return "its frame rate is above 60 or below 1"
	case s.Hidden:
		return "an edit list hides some of its pictures"
	case s.Late > 1/max(s.FrameRate.Float(), 1):
		return "its picture begins later than its sound"
	}
	return ""
}

func soundForCopy(s Source) string {
	switch {
	case s.Audio < 0:
		return ""
	case s.SoundCodec != "aac LC":
		return "its sound is not AAC-LC"
	case s.SoundRate > 48000 || s.Channels > 2:
		return "its sound is more than stereo at 48 kHz"
	case s.SoundLate > 0.1:
		return "its sound begins later than its picture"
	}
	return ""
}

func keysForCopy(s Source) string {
	if len(s.KeyFrames) == 0 {
		return "nobody has looked for its key frames"
	}
	if s.KeyFrames[0] > 0.001 {
		return "it does not begin with a key frame"
	}
	worst := 0.0
	for i, k := range s.KeyFrames {
		next := s.Duration - s.Late
		if i+1 < len(s.KeyFrames) {
			next = s.KeyFrames[i+1]
		}
		worst = max(worst, next-k)
	}
	if worst > maxKeyDistance {
		return fmt.Sprintf("its key frames are up to %.0f s apart", math.Ceil(worst))
	}
	return ""
}

// keyCuts chooses the key frames to cut at, as ffmpeg's hls does: for each multiple of segmentSeconds the first one that is
// not before it.
func keyCuts(s Source) (cuts []int64) {
	for _, k := range s.KeyFrames {
		if k > float64(len(cuts)*segmentSeconds)-0.0001 {
			cuts = append(cuts, int64(math.Round(k*s.FrameRate.Float())))
		}
	}
	return cuts
}
