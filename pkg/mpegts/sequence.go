package mpegts

import (
	"bytes"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// NAL unit types (ISO/IEC 14496-10, table 7-1).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
)

// Sequence is what a sequence parameter set says.
type Sequence struct {
	Profile       [3]byte // profile, constraints and level, as CODECS has them
	Width, Height int     // of the picture that is shown, in its own pixels
	Aspect        [2]int  // width and height of a pixel
	Chroma        int     // 1 is 4:2:0
	Depth         int     // bits of a sample
	Progressive   bool    // it has whole pictures only
	Rate          float64 // pictures per second as the timing tells, 0 if it does not
}

// Codec is the name of the encoding in CODECS (RFC 6381).
func (s Sequence) Codec() string { return fmt.Sprintf("avc1.%x", s.Profile) }

// Codec is the name of the encoding in CODECS (RFC 6381).
func (f Format) Codec() string { return fmt.Sprintf("mp4a.40.%d", f.ObjectType) }

// Shown is the size at which pictures are shown, with square pixels.
func (s Sequence) Shown() (width, height int) {
	return (s.Width*s.Aspect[0] + s.Aspect[1]/2) / s.Aspect[1], s.Height
}

// aspects are the shapes of a pixel that have a number (ISO/IEC 14496-10, table E-1).
var aspects = [...][2]int{
	1: {1, 1}, {12, 11}, {10, 11}, {16, 11}, {40, 33}, {24, 11}, {20, 11}, {32, 11}, {80, 33}, {18, 11}, {15, 11}, {64, 33},
	{160, 99}, {4, 3}, {3, 2}, {2, 1},
}

func parseSequence(nal []byte) (Sequence, error) {
	var p h264.SPS
	if err := p.Unmarshal(bytes.TrimRight(nal, "\x00")); err != nil {
		return Sequence{}, err
	}
	s := Sequence{
		Profile: [3]byte(nal[1:4]), Width: p.Width(), Height: p.Height(), Aspect: [2]int{1, 1}, Chroma: int(p.ChromaFormatIdc),
		Depth: 8 + int(max(p.BitDepthLumaMinus8, p.BitDepthChromaMinus8)), Progressive: p.FrameMbsOnlyFlag,
	}
	if p.VUI == nil {
		return s, nil
	}
	if i := int(p.VUI.AspectRatioIdc); p.VUI.AspectRatioInfoPresentFlag && i > 0 && i < len(aspects) {
		s.Aspect = aspects[i]
	}
	if p.VUI.SarWidth > 0 && p.VUI.SarHeight > 0 {
		s.Aspect = [2]int{int(p.VUI.SarWidth), int(p.VUI.SarHeight)}
	}
	if t := p.VUI.TimingInfo; t != nil && t.NumUnitsInTick > 0 {
		s.Rate = float64(t.TimeScale) / float64(t.NumUnitsInTick) / 2
	}
	return s, nil
}
