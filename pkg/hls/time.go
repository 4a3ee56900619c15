package hls

import (
	"math"
	"slices"

	"pulsevault/pkg/mpegts"
)

// jitter is how far a time stamp may be off, in units of a time stamp: containers that count milliseconds round by one.
const jitter = mpegts.Clock/1000 + 10

// shown returns the time stamps of a segment's pictures in the order in which they are shown, on a clock that does not
// begin again: near is a time stamp of about the same time.
func (s *segment) shown(near int64) []int64 {
	times := make([]int64, 0, len(s.Pictures))
	for _, p := range s.Pictures {
		times = append(times, unwrap(p.PTS, near))
	}
	slices.Sort(times)
	return times
}

// unwrap returns the time nearest to near that has a time stamp.
func unwrap(stamp, near int64) int64 {
	const half = mpegts.Wrap / 2
	return near + ((stamp-near+half)%mpegts.Wrap+mpegts.Wrap)%mpegts.Wrap - half
}

// pictures returns the time stamps of all pictures of a rung in the order in which they are shown, segment by segment;
// nil for a segment that could not be read.
func (r *rung) pictures() (list [][]int64) {
	var near int64
	begun := false
	for _, s := range r.segments {
		if !s.usable() {
			list = append(list, nil)
			continue
		}
		if !begun {
			near, begun = s.Pictures[0].PTS, true
		}
		times := s.shown(near)
		near = times[len(times)-1]
		list = append(list, times)
	}
	return list
}

// measureStep is the time from one picture to the next: the mean of those that are near the median. So a picture that is
// missing or early is seen as that, and not as another rate.
func (r *rung) measureStep() float64 {
	var steps []float64
	for _, times := range r.pictures() {
		for i := 1; i < len(times); i++ {
			steps = append(steps, float64(times[i]-times[i-1]))
		}
	}
	if len(steps) == 0 { // a picture in each segment
		var last int64 = -1
		for _, times := range r.pictures() {
			if len(times) > 0 && last >= 0 {
				steps = append(steps, float64(times[0]-last))
			}
			last = -1
			if len(times) > 0 {
				last = times[len(times)-1]
			}
		}
	}
	if len(steps) == 0 {
		return 0
	}
	slices.Sort(steps)
	median := steps[len(steps)/2]
	var sum float64
	var n int
	for _, s := range steps {
		if math.Abs(s-median) <= median/4 {
			sum, n = sum+s, n+1
		}
	}
	return sum / float64(n)
}

// span is how long the pictures of a segment are shown, in seconds; 0 if the rate cannot be told.
func (r *rung) span(s *segment) float64 { return float64(len(s.Pictures)) * r.step / mpegts.Clock }

// length is how long the pictures of a rung are shown, in seconds.
func (r *rung) length() (seconds float64) {
	for _, s := range r.segments {
		seconds += r.span(s)
	}
	return seconds
}
