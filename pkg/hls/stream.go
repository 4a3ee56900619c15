package hls

import (
	"fmt"
	"math"
	"slices"

	"pulsevault/pkg/mpegts"
)

func checkTransport(v *video, f *findings) {
	packets := int64(0)
	for _, r := range v.rungs {
		for _, s := range r.segments {
			if s.broken != nil {
				f.fail("%s: %v", s.name, s.broken)
			}
			for _, what := range s.Faults {
				f.fail("%s: %s", s.name, what)
			}
			packets += s.Size / mpegts.PacketSize
		}
	}
	f.ok("%d packets with their tables", packets)
}

// checkContinuity follows the counters within segments and from each to the next.
func checkContinuity(v *video, f *findings) {
	v.each(func(_ *rung, before, s *segment) {
		for _, what := range s.Breaks {
			f.fail("%s: %s", s.name, what)
		}
		if before == nil {
			return
		}
		for pid, now := range s.Counters {
			last, known := before.Counters[pid]
			if known && !now.Free && now.First != (last.Last+1)&0x0f {
				f.fail("%s: packet id %d counts from %d to %d where the segment begins", s.name, pid, last.Last, now.First)
			}
		}
	})
	f.ok("all counters go on, in and across segments")
}

func checkIDR(v *video, f *findings) {
	n := 0
	v.each(func(_ *rung, _, s *segment) {
		if !s.OpensIDR {
			f.fail("%s does not open on an IDR picture with its parameter sets", s.name)
		}
		n++
	})
	f.ok("%d segments open on an IDR picture with SPS and PPS", n)
}

// checkPicture wants what every player can decode.
func checkPicture(v *video, f *findings) {
	said := map[string]bool{}
	v.each(func(r *rung, _, s *segment) {
		for _, q := range s.Sequences {
			switch {
			case q.Depth != 8 || q.Chroma != 1:
				f.fail("%s: %d bits and chroma format %d, not 8-bit 4:2:0", s.name, q.Depth, q.Chroma)
			case !q.Progressive:
				f.fail("%s is interlaced", s.name)
			case q.Profile[0] > 100 || q.Profile[2] > 52:
				f.fail("%s: %s is beyond High profile, level 5.2", s.name, q.Codec())
			}
			if !said[r.name] {
				f.ok("%s: 8-bit 4:2:0, progressive, %s", r.name, q.Codec())
				said[r.name] = true
			}
		}
	})
}

// checkVideoTime wants each picture one step after the one that is shown before it, across segments too.
func checkVideoTime(v *video, f *findings) {
	for _, r := range v.rungs {
		if r.step == 0 {
			continue
		}
		n, last := 0, int64(-1)
		for i, times := range r.pictures() {
			if times == nil {
				last = -1
				continue
			}
			for j, now := range times {
				if step := float64(now - last); last >= 0 && math.Abs(step-r.step) > jitter {
					f.fail("%s: picture %d is shown %.3f s after the one before it, all others %.3f s", r.segments[i].name, j, step/mpegts.Clock, r.step/mpegts.Clock)
				}
				last = now
				n++
			}
		}
		f.ok("%s: %d pictures, each %.4f s after the last", r.name, n, r.step/mpegts.Clock)
	}
}

// checkClock wants pictures decoded in order, each before it is shown, and none before the program's clock says so.
func checkClock(v *video, f *findings) {
	late := 0.0
	v.each(func(r *rung, before, s *segment) {
		last := int64(-1)
		if before != nil {
			last = before.Pictures[len(before.Pictures)-1].DTS
		}
		for i, p := range s.Pictures {
			if last >= 0 && unwrap(p.DTS, last) <= last {
				f.fail("%s: picture %d is decoded before the one that comes before it", s.name, i)
			}
			if unwrap(p.DTS, p.PTS) > p.PTS {
				f.fail("%s: picture %d is shown before it is decoded", s.name, i)
			}
			if p.Clock >= 0 && unwrap(p.Clock, p.DTS) > p.DTS {
				f.fail("%s: picture %d is decoded %.3f s before it arrives", s.name, i, float64(unwrap(p.Clock, p.DTS)-p.DTS)/mpegts.Clock)
			}
			if p.Clock >= 0 {
				late = max(late, float64(p.DTS-unwrap(p.Clock, p.DTS))/mpegts.Clock)
			}
			last = p.DTS
		}
	})
	f.ok("pictures are decoded in order, at most %.3f s after the clock", late)
}

// checkSound wants one format of sound in all segments of all variants, or no sound in any.
func checkSound(v *video, f *findings) {
	var known *mpegts.Format
	with, without := 0, 0
	v.each(func(_ *rung, _, s *segment) {
		if len(s.Formats) == 0 {
			without++
			return
		}
		with++
		for _, format := range s.Formats {
			switch {
			case known == nil:
				known = &format
				if format.ObjectType != 2 || format.Rate > 48_000 || format.Channels < 1 || format.Channels > 2 {
					f.note("%s: %d Hz, %d channels, %s: not every player has it", s.name, format.Rate, format.Channels, format.Codec())
				}
			case *known != format:
				f.fail("%s has sound of %d Hz with %d channels (%s), others have %d Hz with %d (%s)", s.name,
					format.Rate, format.Channels, format.Codec(), known.Rate, known.Channels, known.Codec())
			}
		}
	})
	f.good = append(f.good, describeSound(known, with, without))
	v.checkSilent(f)
}

func describeSound(format *mpegts.Format, with, without int) string {
	if format == nil {
		return fmt.Sprintf("%d segments, all without sound", without)
	}
	return fmt.Sprintf("%d segments: %d Hz, %d channels, %s", with, format.Rate, format.Channels, format.Codec())
}

// checkSilent wants sound in every variant if one has it. It may begin late and end early, but not fall silent between.
func (v *video) checkSilent(f *findings) {
	var has, hasNot []string
	for _, r := range v.complete() {
		if !slices.ContainsFunc(r.segments, func(s *segment) bool { return len(s.Formats) > 0 }) {
			hasNot = append(hasNot, r.name)
		} else {
			has = append(has, r.name)
		}
	}
	if len(has) > 0 && len(hasNot) > 0 {
		f.fail("%v have sound, %v have not", has, hasNot)
	}
}

// checkAudioTime wants each frame of sound where the one before it ends, across segments too.
func checkAudioTime(v *video, f *findings) {
	for _, r := range v.rungs {
		frames, last, left := 0, int64(-1), 0.0
		for _, s := range r.segments {
			if !s.usable() {
				last = -1
				continue
			}
			if len(s.Formats) == 0 {
				continue
			}
			each := float64(mpegts.FrameSamples*mpegts.Clock) / float64(s.Formats[0].Rate)
			for i, p := range s.Sound {
				if p.Frames == 0 || p.PTS < 0 {
					continue
				}
				if step := float64(unwrap(p.PTS, last) - last); last >= 0 && math.Abs(step-left) > jitter {
					f.fail("%s: packet %d of sound comes %.3f s after the one before it, which lasts %.3f s", s.name, i, step/mpegts.Clock, left/mpegts.Clock)
				}
				last, left = p.PTS, float64(p.Frames)*each
				frames += p.Frames
			}
		}
		if frames > 0 {
			f.ok("%s: %d frames of %d samples without a gap", r.name, frames, mpegts.FrameSamples)
		}
	}
}
