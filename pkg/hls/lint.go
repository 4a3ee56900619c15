// Package hls checks published HLS, rule by rule, against RFC 8216 and Apple's HLS Authoring Specification. It believes
// nothing that a playlist says: what must agree with the streams is measured in the bytes of every segment.
//
// A video is a master playlist whose variants are media playlists of MPEG-TS segments, H.264 with AAC or without sound.
// One whose variants are still to come, or still grow, is checked as far as it goes: what is published must be right.
package hls

import (
	"context"
	"fmt"
)

// rule is one thing that must hold. check says what it found; one that says nothing had nothing to look at.
type rule struct {
	name   string
	source string // where it is written
	check  func(v *video, f *findings)
}

// rules are in the order in which they are printed.
var rules = []rule{
	{"syntax", "RFC 8216, 4.1 to 4.3", checkSyntax},
	{"version", "RFC 8216, 7", checkVersion},
	{"uris", "relative, and none leads out", checkURIs},
	{"segments", "RFC 8216, 6.2.1", checkSegments},
	{"independent", "Apple, master playlist", checkIndependent},
	{"attributes", "Apple, master playlist", checkAttributes},
	{"codecs", "RFC 8216, 4.3.4.2", checkCodecs},
	{"resolution", "RFC 8216, 4.3.4.2", checkResolution},
	{"frame-rate", "RFC 8216, 4.3.4.2", checkFrameRate},
	{"bandwidth", "RFC 8216, 4.1; Apple, segmentation", checkBandwidth},
	{"average-bandwidth", "RFC 8216, 4.1; Apple, segmentation", checkAverageBandwidth},
	{"target-duration", "RFC 8216, 4.3.3.1", checkTargetDuration},
	{"extinf", "RFC 8216, 4.3.2.1", checkDurations},
	{"ended", "RFC 8216, 4.3.3.4, 4.3.3.5", checkEnded},
	{"transport", "RFC 8216, 3.2; ISO 13818-1", checkTransport},
	{"continuity", "ISO 13818-1, 2.4.3.3", checkContinuity},
	{"idr", "RFC 8216, 3.2, 4.3.5.1", checkIDR},
	{"picture", "Apple, video", checkPicture},
	{"video-time", "RFC 8216, 6.2.1", checkVideoTime},
	{"clock", "ISO 13818-1, 2.7", checkClock},
	{"sound", "Apple, audio", checkSound},
	{"audio-time", "RFC 8216, 6.2.1", checkAudioTime},
	{"sound-length", "sound and picture of one length", checkSoundLength},
	{"aspect", "Apple, video", checkAspect},
	{"same-cuts", "RFC 8216, 6.2.4", checkCuts},
	{"same-length", "RFC 8216, 6.2.4", checkSameLength},
	{"media-type", "RFC 8216, 3.2, 4", checkMediaTypes},
	{"caching", "a playlist changes, a segment never does", checkCaching},
}

// Lint checks the video whose master playlist is the source's. The error says that there is none to be read.
func Lint(ctx context.Context, from Source) (Report, error) {
	v, err := load(ctx, from)
	if err != nil {
		return Report{}, fmt.Errorf("lint %s: %w", from.Place(), err)
	}
	report := Report{Place: from.Place()}
	for _, r := range rules {
		f := findings{rule: r}
		r.check(v, &f)
		report.Results = append(report.Results, f.results()...)
	}
	return report, nil
}
