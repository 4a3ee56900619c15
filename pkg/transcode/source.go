package transcode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Source is what ffprobe says about an original, as far as a plan depends on it.
type Source struct {
	Demuxer       string
	Video         int      // index of the chosen video stream
	Audio         int      // index of the chosen audio stream, -1 for none
	LeftOut       []string // the other streams, for people
	Codec         string   // of the picture, with its profile
	Level         int      // as ffprobe has it: 31 is level 3.1 of H.264
	PixelFormat   string
	FullRange     bool
	Interlaced    bool
	Transfer      string    // of the colours: smpte2084 is PQ, arib-std-b67 is HLG
	Coded         [2]int    // width and height of a frame as it is coded
	Aspect        Rational  // of a pixel; none if it is not told
	Width, Height int       // of a frame as it is to be displayed: rotated, with square pixels
	Matrix        int       // degrees clockwise that ffmpeg turns it by itself, because a display matrix says so
	Turn          int       // degrees clockwise to turn it where only a tag says so: ffmpeg itself obeys only display matrices
	FrameRate     Rational  // of the output, constant
	Variable      bool      // the source's own rate varies
	Halved        bool      // frames are left out, or doubled, because there are too many or too few in a second
	Start         float64   // seconds on the file's own clock at which it begins
	Late          float64   // seconds that the picture begins later than the file
	Duration      float64   // seconds until the picture ends; 0 if the container does not say
	Hidden        bool      // an edit list leaves out some of its pictures
	BitRate       int       // of the picture, bits per second; 0 if the container does not say
	KeyFrames     []float64 // seconds after the first picture; none if ffprobe was not asked for packets
	SoundCodec    string    // with its profile
	SoundRate     int       // samples per second
	Channels      int
	SoundLate     float64 // seconds that the sound begins later than the file
	SoundDuration float64 // seconds until the sound ends
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
		default:
			s.LeftOut = append(s.LeftOut, st.describe())
		}
	}
	if s.Video < 0 {
		return s, permanent("the file has no video stream that can be decoded")
	}
	// Beyond these nobody filmed it: it was made to fill a disk or a memory.
	if int64(video.Width)*int64(video.Height) > maxPixels {
		return s, permanent("the picture is too large")
	}
	start := p.start(demuxer, video, audio)
	s.Start, _ = strconv.ParseFloat(start, 64) // 0 if the container has no clock
	s.picture(video, start)
	s.sound(audio, start)
	if whole := seconds(p.Format.Duration); s.Duration == 0 || whole > 0 && whole < s.Duration {
		s.Duration = whole
	}
	if int64(s.Width)*int64(s.Height) > maxPixels {
		return s, permanent("the picture is too large")
	}
	if max(s.Duration, s.SoundDuration) > maxSeconds {
		return s, tooLong()
	}
	for _, k := range p.Packets {
		if k.Stream == s.Video && strings.HasPrefix(k.Flags, "K") {
			s.KeyFrames = append(s.KeyFrames, seconds(k.Time)-seconds(video.Start))
		}
	}
	return s, nil
}

func tooLong() error { return permanent("the video is longer than a day") }

// start is the time on the file's own clock that ffmpeg takes for the beginning: of the streams that are used, where the
// clock may jump, and else of all.
func (p probed) start(demuxer string, used ...stream) string {
	start := p.Format.Start
	if !clockJumps(demuxer) {
		return start
	}
	first := math.Inf(1)
	for _, st := range used {
		if at, err := strconv.ParseFloat(st.Start, 64); err == nil && at < first {
			first, start = at, st.Start
		}
	}
	return start
}

func (s *Source) picture(st stream, fileStart string) {
	s.Codec, s.Level = strings.TrimSpace(st.Codec+" "+st.Profile), st.Level
	s.PixelFormat, s.Transfer = st.PixelFormat, st.Transfer
	s.FullRange = st.Range == "pc" || strings.HasPrefix(st.PixelFormat, "yuvj")
	switch st.FieldOrder {
	case "tt", "bb", "tb", "bt":
		s.Interlaced = true
	}
	s.Coded, s.Aspect = [2]int{st.Width, st.Height}, parseRational(st.SampleAspect, ":")
	s.Width, s.Height, s.Matrix, s.Turn = st.displaySize()
	s.FrameRate, s.Variable = st.frameRate()
	s.Halved = s.FrameRate.Float() < parseRational(st.AvgRate, "/").Float()*0.99 || s.FrameRate == Rational{minRate, 1} && parseRational(st.AvgRate, "/").Float() < minRate
	s.Late, s.Duration, s.BitRate = st.late(fileStart), st.end(fileStart), number(st.BitRate)
	if rate := parseRational(st.AvgRate, "/").Float(); rate > 0 {
		s.Hidden = (float64(number(st.Frames))-1.5)/rate > seconds(st.Duration)
	}
}

func (s *Source) sound(st stream, fileStart string) {
	if s.Audio < 0 {
		return
	}
	s.SoundCodec = strings.TrimSpace(st.Codec + " " + st.Profile)
	s.SoundRate, s.Channels = number(st.SampleRate), st.Channels
	s.SoundLate, s.SoundDuration = st.late(fileStart), st.end(fileStart)
}

// describe says what a stream is that no one asked for.
func (st stream) describe() string {
	kind := st.Type
	if st.Disposition["attached_pic"] != 0 {
		kind = "cover art"
	}
	if st.Codec != "" {
		kind += " (" + st.Codec + ")"
	}
	return fmt.Sprintf("%d %s", st.Index, strings.TrimSpace(kind))
}
