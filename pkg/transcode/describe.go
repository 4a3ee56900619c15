package transcode

import (
	"cmp"
	"fmt"
	"strings"
)

// String is the plan for people: a line for each decision.
func (p Plan) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	s := p.Source
	line("picture", "stream %d, %s, %dx%d, %s", s.Video, s.Codec, s.Coded[0], s.Coded[1], s.PixelFormat)
	line("sound", "%s", p.describeSound())
	if len(s.LeftOut) > 0 {
		line("left out", "%s", strings.Join(s.LeftOut, ", "))
	}
	line("shown as", "%dx%d%s", s.Width, s.Height, p.describeTurn())
	if p.Deinterlace {
		line("deinterlace", "one frame of two fields")
	}
	if p.ToneMap != "" {
		line("tone map", "%s to BT.709", p.ToneMap)
	}
	line("rate", "%s%s", s.FrameRate, map[bool]string{true: ", made constant"}[s.Variable])
	line("length", "%s", p.describeLength())
	line("cuts", "%s", p.describeCuts())
	for _, r := range p.Renditions {
		picture := fmt.Sprint(r.VideoBitRate)
		if r.Copied {
			picture = "the source's own"
		}
		line(r.Name, "%dx%d, %s and %d bit/s", r.Width, r.Height, picture, r.AudioBitRate)
	}
	switch {
	case p.Copy.OK:
		line("copy", "yes, as %s, cut at picture %s", cmp.Or(p.Copy.Rung, "a variant of its own"), strings.Trim(fmt.Sprint(p.Copy.Cuts), "[]"))
	default:
		line("copy", "no: %s", p.Copy.Reason)
	}
	if len(p.encoded()) > 0 {
		line("filter", "%s", p.filter())
	}
	if s.Audio >= 0 {
		line("", "%s", p.soundFilter(len(p.Renditions)))
	}
	return b.String()
}

func (p Plan) describeSound() string {
	s := p.Source
	if s.Audio < 0 {
		return "none"
	}
	text := fmt.Sprintf("stream %d, %s, %d channels at %d Hz, becomes stereo at 48000 Hz", s.Audio, s.SoundCodec, s.Channels, s.SoundRate)
	if s.SoundLate > 0 {
		text += fmt.Sprintf(", after %.3f s of silence", s.SoundLate)
	}
	if p.Pad > 0 {
		text += fmt.Sprintf(", silence from %.3f s on", s.SoundDuration)
	}
	return text
}

func (p Plan) describeTurn() string {
	switch {
	case p.Source.Matrix != 0:
		return fmt.Sprintf(", turned by %d degrees, as its matrix says", p.Source.Matrix)
	case p.Source.Turn != 0:
		return fmt.Sprintf(", turned by %d degrees, as a tag says", p.Source.Turn)
	}
	return ""
}

func (p Plan) describeLength() string {
	if p.seconds() == 0 {
		return "not told"
	}
	text := fmt.Sprintf("%.3f s, %d pictures", p.seconds(), p.frames())
	if p.Source.Late > 0 {
		text += fmt.Sprintf(", the first from the start, though it begins at %.3f s", p.Source.Late)
	}
	if p.Hold > 0 {
		text += fmt.Sprintf(", the last held for %.3f s", p.Hold)
	}
	return text
}

// describeCuts names the first cuts, and how many there are.
func (p Plan) describeCuts() string {
	const named = 4
	var cuts []string
	n := max(p.segments(), 1)
	for i := range min(n, named) {
		cuts = append(cuts, fmt.Sprint(p.Cut(i)))
	}
	text := "at picture " + strings.Join(cuts, ", ")
	if n > named {
		text += fmt.Sprintf(" … %d", p.Cut(n-1))
	}
	return fmt.Sprintf("%s: %d segments", text, n)
}
