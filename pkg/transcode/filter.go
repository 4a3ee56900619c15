package transcode

import (
	"fmt"
	"slices"
	"strings"
)

// arguments is the command line of ffmpeg that makes all renditions of the plan, with one decode, in its working
// directory.
func (p Plan) arguments(path string, threads int, segmentName func(rendition string) string) []string {
	args := append(p.reading(threads), input(p.Source.Demuxer, path)...)
	if len(p.encoded()) > 0 {
		args = append(args, "-filter_complex", p.filter())
	}
	if p.Source.Audio >= 0 {
		args = append(args, "-filter_complex", p.soundFilter(len(p.Renditions)))
	}
	for i, r := range p.Renditions {
		if r.Copied {
			args = append(args, "-map", fmt.Sprintf("0:%d", p.Source.Video), "-c:v", "copy")
		} else {
			args = append(args, p.picture(r, threads, piece{})...)
		}
		if p.Source.Audio >= 0 {
			args = append(args, soundEncoder(i, r.AudioBitRate)...)
		}
		args = append(args, segmented(r.Name, segmentName)...)
	}
	return args
}

// reading are the options for reading a file that nobody has vetted.
func (p Plan) reading(threads int) []string {
	return []string{"-max_pixels", fmt.Sprint(maxPixels), "-dn", "-sn", "-threads", fmt.Sprint(decoderThreads(threads))}
}

// picture encodes the picture of a rendition, or a piece of it. The whole is a piece that begins at 0.
func (p Plan) picture(r Rendition, threads int, of piece) []string {
	// The filter has made the rate constant; else ffmpeg would now and then show the last picture twice.
	args := append([]string{"-map", "[" + r.Name + "]", "-vsync", "vfr"}, r.encoder(threads)...)
	// Key frames at the cuts and nowhere else: that is where hls cuts.
	args = append(args, "-force_key_frames", p.keyFrames(of), "-forced-idr", "1", "-sc_threshold", "0", "-g", fmt.Sprint(p.longest()), "-flags", "+cgop")
	if p.Source.FrameRate.Float() < 5 {
		// A picture that waits for a later one would be decoded before the clock of the stream starts, at 0.
		args = append(args, "-bf", "0")
	}
	return args
}

// keyFrames tells ffmpeg at which times of a piece, which begins at 0 for it, there are to be key frames.
func (p Plan) keyFrames(of piece) string {
	rate := p.Source.FrameRate
	if p.Cuts == nil {
		// The little more than t makes up for rounding, which would put one a frame later.
		return fmt.Sprintf("expr:gte(t+%d*%d/%d+0.000001,(n_forced+%d)*%d)", of.From, rate.Den, rate.Num, of.Segment, segmentSeconds)
	}
	var times []string
	for _, cut := range p.Cuts[of.Segment:] {
		micros := (cut - of.From) * rate.Den * 1_000_000 / rate.Num // rounded down, for the same reason
		times = append(times, fmt.Sprintf("%d.%06d", micros/1_000_000, micros%1_000_000))
	}
	return strings.Join(times, ",")
}

func soundEncoder(output, bitRate int) []string {
	return []string{"-map", fmt.Sprintf("[a%d]", output), "-c:a", "aac", "-ac", "2", "-ar", "48000", "-b:a", fmt.Sprint(bitRate)}
}

// copyArguments is the command line of ffmpeg that cuts picture and sound of the source as they are.
func (p Plan) copyArguments(path string, segmentName func(rendition string) string) []string {
	args := append([]string{"-dn", "-sn"}, input(p.Source.Demuxer, path)...)
	args = append(args, "-map", fmt.Sprintf("0:%d", p.Source.Video))
	if p.Source.Audio >= 0 {
		args = append(args, "-map", fmt.Sprintf("0:%d", p.Source.Audio))
	}
	return append(append(args, "-c", "copy"), segmented(sourceName, segmentName)...)
}

// segmented has ffmpeg cut a rendition at key frames, about every segmentSeconds. Renditions have the same time stamps for the
// same pictures (RFC 8216, section 6.2.4) only where none is below zero, for ffmpeg then moves all of that rendition: pictures
// that wait for later ones have an earlier time of decoding, and not all encoders make them wait as long.
func segmented(rendition string, segmentName func(rendition string) string) []string {
	return []string{
		"-map_metadata", "-1", "-map_chapters", "-1", "-output_ts_offset", "10", "-f", "hls", "-hls_time", fmt.Sprint(segmentSeconds),
		"-hls_list_size", "0", "-hls_playlist_type", "vod", "-hls_segment_type", "mpegts",
		"-hls_segment_filename", segmentName(rendition), rendition + ".m3u8",
	}
}

// soundFilter makes sound that begins at 0, as the picture does, with silence in its gaps, so that the two stay together.
func (p Plan) soundFilter(outputs int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[0:%d]aresample=48000:async=1:first_pts=0,aformat=channel_layouts=stereo,", p.Source.Audio)
	if p.Pad > 0 {
		fmt.Fprintf(&b, "apad=whole_dur=%.3f,", p.Pad)
	}
	fmt.Fprintf(&b, "asplit=%d", outputs)
	for i := range outputs {
		fmt.Fprintf(&b, "[a%d]", i)
	}
	return b.String()
}

// turns are the filters that turn a picture by so many degrees clockwise.
var turns = map[int]string{90: "transpose=clock,", 180: "hflip,vflip,", 270: "transpose=cclock,"}

// filter makes one picture per rendition that is encoded: whole frames, constant rate, square pixels, 8 bit 4:2:0. Frames
// are on a grid that begins at 0, else the cuts would not fall on it.
func (p Plan) filter() string { return p.onGrid("", fromZero) + p.sizes() }

// fromZero has the first picture shown from 0 on.
const fromZero = ":start_time=0"

// onGrid makes pictures of the output's rate and shape, each numbered by its time stamp. clock is a filter that sets the
// time stamps before, start an option of the one that makes the rate constant.
func (p Plan) onGrid(clock, start string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[0:%d]%s", p.Source.Video, clock)
	if p.Deinterlace {
		b.WriteString("bwdif=mode=send_frame:deint=interlaced,") // frames that are whole already stay as they are
	}
	b.WriteString(turns[p.Source.Turn])
	fmt.Fprintf(&b, "fps=%s%s,", p.Source.FrameRate, start)
	if p.Hold > 0 {
		fmt.Fprintf(&b, "tpad=stop_mode=clone:stop_duration=%.3f,", p.Hold)
	}
	return b.String()
}

// sizes makes the picture of each rendition, each of the next larger one, which takes less processor time than making all of
// the source's.
func (p Plan) sizes() string {
	var b strings.Builder
	b.WriteString(p.toneMapFilter())
	for i, r := range slices.Backward(p.encoded()) {
		fmt.Fprintf(&b, "scale=%d:%d:flags=bicubic:out_range=tv,setsar=1,format=yuv420p", r.Width, r.Height)
		if i == 0 {
			fmt.Fprintf(&b, "[%s]", r.Name)
		} else {
			fmt.Fprintf(&b, ",split=2[%s][s%d];[s%d]", r.Name, i, i)
		}
	}
	return b.String()
}

// toneMapFilter brings a picture with a high dynamic range to that of BT.709: to linear light in floating point, there to
// other primaries and under the brightest that is left, and back. It costs the most of all filters, so the picture is first
// made as small as the best rendition. ffmpeg needs zscale for it, which is libzimg.
func (p Plan) toneMapFilter() string {
	if p.ToneMap == "" {
		return ""
	}
	best, levels := p.Renditions[len(p.Renditions)-1], "limited"
	if p.Source.FullRange {
		levels = "full"
	}
	return fmt.Sprintf("scale=%d:%d:flags=bicubic,setsar=1,", best.Width, best.Height) +
		fmt.Sprintf("zscale=tin=%s:pin=bt2020:min=bt2020nc:rin=%s:t=linear:npl=100,format=gbrpf32le,", p.Source.Transfer, levels) +
		"zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=limited,format=yuv420p,"
}
