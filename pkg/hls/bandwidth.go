package hls

import (
	"math"
	"strconv"
)

// measureBandwidth returns the average and the peak bit rate of a rung in bits per second, from the sizes of its segments
// and the durations that its playlist announces. The peak is that of any run of segments between a half and one and a half
// times as long as the target duration (RFC 8216, 4.1).
func (r *rung) measureBandwidth() (average, peak float64) {
	target := float64(r.list.integer("EXT-X-TARGETDURATION"))
	for _, s := range r.segments { // one that is too short is another rule's affair
		target = max(target, math.Round(s.seconds))
	}
	var bits, seconds float64
	for i := range r.segments {
		var runBits, run float64
		for _, s := range r.segments[i:] {
			runBits, run = runBits+8*float64(s.Size), run+s.seconds
			if run > 1.5*target {
				break
			}
			if run >= 0.5*target {
				peak = max(peak, runBits/run)
			}
		}
		bits, seconds = bits+8*float64(r.segments[i].Size), seconds+r.segments[i].seconds
	}
	if seconds == 0 {
		return 0, 0
	}
	return bits / seconds, max(peak, bits/seconds)
}

// rounding is what bit rates may be off by: a bit, and what six decimals of a duration lose.
const rounding = 1.0001

// accuracy is how much more than measured may be stated: what Apple calls within 10%.
const accuracy = 1.1

func checkBandwidth(v *video, f *findings) {
	v.checkRate(f, "BANDWIDTH", func(average, peak float64) float64 { return peak })
}

func checkAverageBandwidth(v *video, f *findings) {
	v.checkRate(f, "AVERAGE-BANDWIDTH", func(average, peak float64) float64 { return average })
}

func (v *video) checkRate(f *findings, name string, choose func(average, peak float64) float64) {
	for _, r := range v.complete() {
		stated, err := strconv.ParseFloat(r.attr[name], 64)
		measured := choose(r.measureBandwidth())
		if err != nil || measured == 0 {
			continue
		}
		switch {
		case measured > stated*rounding+1:
			f.fail("%s: %s says %.0f bit/s, measured %.0f", r.name, name, stated, math.Ceil(measured))
		case stated > measured*accuracy+1:
			f.fail("%s: %s says %.0f bit/s, far more than the %.0f measured", r.name, name, stated, math.Ceil(measured))
		}
		f.ok("%s: %.0f bit/s, stated %.0f", r.name, math.Ceil(measured), stated)
	}
}
