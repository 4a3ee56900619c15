package transcode

import (
	"fmt"
	"math"
	"strings"
)

// choice is what is made pictures of.
type choice int

const (
	every        choice = iota // all that is there
	keyFrames                  // those that are far enough apart
	firstPicture               // one, whatever it is
)

// shooting says what pictures are made.
type shooting struct {
	of      choice
	apart   float64 // seconds, of key frames
	posters bool    // of the first few; else only thumbnails
}

// early is the part of the distance wanted at which a key frame is near enough, for those that come a little early.
const early = 0.9

// countArguments is the command line of ffmpeg that reads to the end.
func (p Plan) countArguments(path string) []string {
	args := append([]string{"-dn", "-sn", "-an"}, input(p.Source.Demuxer, path)...)
	return append(args, "-map", fmt.Sprintf("0:%d", p.Source.Video), "-c", "copy", "-f", "null", "-")
}

// onlyKeys has ffmpeg leave out all packets but those of key frames. Some demuxers then do not even read the rest.
const onlyKeys = "noise=drop=not(key)"

// keysArguments is the command line of ffmpeg that lists the key frames.
func (p Plan) keysArguments(path string) []string {
	args := append([]string{"-dn", "-sn", "-an", "-discard:v", "nokey"}, input(p.Source.Demuxer, path)...)
	return append(args, "-map", fmt.Sprintf("0:%d", p.Source.Video), "-c", "copy", "-bsf:v", onlyKeys, "-f", "framecrc", keysList)
}

// thinArguments is the command line of ffmpeg that copies wanted ones of the key frames, by their numbers, to a file. Their
// times would not do: in which unit the filter sees them, versions of ffmpeg differ.
func (p Plan) thinArguments(path string, wanted []int) []string {
	args := append([]string{"-dn", "-sn", "-an", "-discard:v", "nokey"}, input(p.Source.Demuxer, path)...)
	var is []string
	for _, n := range wanted {
		is = append(is, fmt.Sprintf("eq(n\\,%d)", n))
	}
	return append(args, "-map", fmt.Sprintf("0:%d", p.Source.Video), "-c", "copy", "-bsf:v", onlyKeys+",noise=drop=not("+strings.Join(is, "+")+")",
		"-avoid_negative_ts", "disabled", "-f", p.thinDemuxer(), thinned)
}

// thinDemuxer is the container that key frames are copied to: one that keeps times, and what turns the picture.
func (p Plan) thinDemuxer() string {
	if p.Source.Demuxer == "mov" {
		return "mov"
	}
	return "matroska"
}

// singleArguments is the command line of ffmpeg that puts each of the key frames that were copied into a file of its own.
func (p Plan) singleArguments(path string) []string {
	args := append([]string{"-copyts"}, input(p.thinDemuxer(), path)...)
	return append(args, "-map", "0:0", "-c", "copy", "-avoid_negative_ts", "disabled",
		"-f", "segment", "-segment_format", p.thinDemuxer(), "-segment_time", "0.001", singlePattern)
}

// developArguments is the command line of ffmpeg that makes pictures of key frames that were copied.
func (p Plan) developArguments(path string, threads int, what shooting) []string {
	p.Source.Demuxer, p.Source.Video = p.thinDemuxer(), 0
	return append([]string{"-copyts"}, p.shotArguments(path, threads, what)...)
}

// shotArguments is the command line of ffmpeg that makes two pictures of each moment, whose names say when it is.
func (p Plan) shotArguments(path string, threads int, what shooting) []string {
	args := []string{"-max_pixels", fmt.Sprint(maxPixels), "-dn", "-sn", "-an"}
	if threads > 0 {
		args = append(args, "-threads", fmt.Sprint(threads))
	}
	if what.of == keyFrames {
		args = append(args, "-skip_frame", "nokey", "-discard:v", "nokey")
	}
	args = append(args, input(p.Source.Demuxer, path)...)
	args = append(args, "-filter_complex", p.shotFilter(what))
	most := 2 * mostShots
	if what.of == firstPicture {
		most = 1
	}
	args = append(args, pngs("[thumb]", thumbPrefix, most)...)
	if what.posters {
		args = append(args, pngs("[poster]", posterPrefix, min(most, candidates))...)
	}
	return args
}

// pngs has ffmpeg write pictures to files of their own, with their times in the names.
func pngs(label, prefix string, most int) []string {
	return []string{
		"-map", label, "-vsync", "passthrough", "-enc_time_base", "1/1000", "-frames:v", fmt.Sprint(most), "-c:v", "png", "-compression_level", "1",
		"-f", "image2", "-frame_pts", "1", prefix + "%d" + shotSuffix,
	}
}

// shotFilter makes of each picture what filter makes of it, as large as a poster, and then as small as a thumbnail. Fields
// are joined by what is in the one picture alone: the next ones are seconds away.
func (p Plan) shotFilter(what shooting) string {
	text := fmt.Sprintf("[0:%d]", p.Source.Video)
	if what.of == keyFrames {
		text += fmt.Sprintf("select='isnan(prev_selected_t)+gte(t-prev_selected_t,%g)',", early*what.apart)
	}
	if p.Deinterlace {
		text += "estdif=mode=frame:deint=interlaced,"
	}
	text += turns[p.Source.Turn]
	w, h := p.Source.fit(posterSide)
	p.Renditions = []Rendition{{Width: w, Height: h}}
	text += p.toneMapFilter()
	text += fmt.Sprintf("scale=%d:%d:flags=bicubic,setsar=1,format=rgb24,settb=1/1000,split[poster][small];", w, h)
	if !what.posters {
		text += "[poster]nullsink;"
	}
	w, h = p.Source.fit(thumbSide)
	return text + fmt.Sprintf("[small]scale=%d:%d:flags=area[thumb]", w, h)
}

// fit is the size of the picture as it is displayed, with its longer side no longer than it may be. Both are even.
func (s Source) fit(side int) (width, height int) {
	by := min(1, float64(side)/float64(max(s.Width, s.Height)))
	return even(math.Round(float64(s.Width) * by)), even(math.Round(float64(s.Height) * by))
}
