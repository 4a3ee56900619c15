package hls

import (
	"fmt"
	"math"

	"pulsevault/pkg/mpegts"
)

// checkAspect wants one shape of picture in all variants. Sizes are even, so each says it only so well.
func checkAspect(v *video, f *findings) {
	low, high := 0.0, math.Inf(1)
	var known string
	for _, r := range v.rungs {
		for _, s := range r.segments {
			if !s.usable() || len(s.Sequences) == 0 {
				continue
			}
			w, h := s.Sequences[0].Shown()
			size := fmt.Sprintf("%s %dx%d", r.name, w, h)
			least, most := float64(w-1)/float64(h+1), float64(w+1)/max(float64(h-1), 0.5)
			if most < low || least > high {
				f.fail("%s has another shape than %s", size, known)
			} else {
				low, high = max(low, least), min(high, most)
			}
			known = size
			f.ok("%s", size)
			break
		}
	}
}

// cuts are the times at which the segments of a rung begin, in the units of a time stamp.
func (r *rung) cuts() (list []int64) {
	for _, times := range r.pictures() {
		if len(times) == 0 {
			return list
		}
		list = append(list, times[0])
	}
	return list
}

// checkCuts wants the segments of all variants to begin at the same times, as far as two of them go.
func checkCuts(v *video, f *findings) {
	list := v.complete()
	if len(list) == 0 {
		return
	}
	first := list[0]
	for _, r := range list[1:] {
		a, b := first.cuts(), r.cuts()
		for i := range min(len(a), len(b)) {
			if off := float64(unwrap(b[i], a[i]) - a[i]); math.Abs(off) > max(first.step, r.step)/2+jitter {
				f.fail("%s begins %.3f s away from %s", r.segments[i].name, off/mpegts.Clock, first.segments[i].name)
			}
		}
		if len(a) != len(b) && first.ended() && r.ended() {
			f.fail("%s has %d segments, %s has %d", first.name, len(a), r.name, len(b))
		}
	}
	f.ok("%d variants, %d segments each at the same times", len(list), len(first.segments))
}

// checkSameLength wants the pictures of all variants that have ended to last as long as one another, within a picture.
func checkSameLength(v *video, f *findings) {
	var first *rung
	for _, r := range v.complete() {
		if !r.ended() || r.step == 0 {
			continue
		}
		if first == nil {
			first = r
		}
		if math.Abs(r.length()-first.length()) > max(r.step, first.step)*1.01/mpegts.Clock {
			f.fail("%s lasts %.3f s, %s %.3f s", r.name, r.length(), first.name, first.length())
		}
		f.ok("%s: %.3f s", r.name, r.length())
	}
}

// checkSoundLength compares sound with picture. What they differ by must be the same in all variants; where they differ at
// all, the source may be like that, and a note says by how much.
func checkSoundLength(v *video, f *findings) {
	var first *rung
	var firstBegin, firstEnd float64
	for _, r := range v.complete() {
		begin, end, ok := r.soundOffsets()
		if !ok || !r.ended() {
			continue
		}
		frame := float64(mpegts.FrameSamples) / float64(r.soundFormat().Rate)
		if first == nil {
			first, firstBegin, firstEnd = r, begin, end
			if room := max(r.step/mpegts.Clock, frame)*1.01 + frame; math.Abs(begin) > room || math.Abs(end) > room {
				f.note("%s: sound begins %.3f s after the picture and ends %.3f s after it", r.name, begin, end)
			}
		}
		if math.Abs(begin-firstBegin) > 2*frame || math.Abs(end-firstEnd) > 2*frame {
			f.fail("%s: sound begins %.3f s and ends %.3f s after the picture, in %s %.3f s and %.3f s", r.name, begin, end, first.name, firstBegin, firstEnd)
		}
		f.ok("%s: begins %.3f s, ends %.3f s after the picture", r.name, begin, end)
	}
}

func (r *rung) soundFormat() mpegts.Format {
	for _, s := range r.segments {
		if len(s.Formats) > 0 {
			return s.Formats[0]
		}
	}
	return mpegts.Format{}
}

// soundOffsets are how much later than the picture the sound begins and ends, in seconds.
func (r *rung) soundOffsets() (begin, end float64, ok bool) {
	pictures := r.pictures()
	if len(pictures) == 0 || pictures[0] == nil || r.soundFormat().Rate == 0 || r.step == 0 {
		return 0, 0, false
	}
	start := pictures[0][0]
	begin = math.NaN()
	last := start
	for _, s := range r.segments {
		for _, p := range s.Sound {
			if p.Frames == 0 || p.PTS < 0 {
				continue
			}
			last = unwrap(p.PTS, last)
			if math.IsNaN(begin) {
				begin = float64(last-start) / mpegts.Clock
			}
			frames := float64(p.Frames*mpegts.FrameSamples) / float64(r.soundFormat().Rate)
			end = float64(last-start)/mpegts.Clock + frames - r.length()
		}
	}
	return begin, end, !math.IsNaN(begin)
}
