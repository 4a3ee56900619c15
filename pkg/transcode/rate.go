package transcode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rational is a fraction, such as 30000/1001 frames per second.
type Rational struct{ Num, Den int64 }

// Float returns the fraction as a number, 0 if it has none.
func (r Rational) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

func (r Rational) String() string { return fmt.Sprintf("%d/%d", r.Num, r.Den) }

func parseRational(s, separator string) Rational {
	num, den, ok := strings.Cut(s, separator)
	n, err1 := strconv.ParseInt(num, 10, 64)
	d, err2 := strconv.ParseInt(den, 10, 64)
	if !ok || err1 != nil || err2 != nil || n <= 0 || d <= 0 {
		return Rational{}
	}
	return Rational{n, d}
}

const (
	maxRate = 60
	minRate = 1 // below it six seconds could pass without a frame to cut at
	// maxBase is the highest base rate that tells of frames and not of a clock.
	maxBase = 240
)

// frameRate is the constant rate of the output: the source's own average, at most 60. Where the rate varies it is the base
// rate, on which every frame has a place; what the container claims as that may be its clock, though.
func (st stream) frameRate() (rate Rational, variable bool) {
	average, base := parseRational(st.AvgRate, "/"), parseRational(st.BaseRate, "/")
	rate = average
	if base.Float() > 0 && base.Float() <= maxBase && average.Float() > 0 {
		// A base of twice the average is that of fields.
		times := base.Float() / average.Float()
		variable = times > 1 && math.Abs(times-math.Round(times)) > 0.005*times
	}
	if variable || average.Float() == 0 && base.Float() <= maxBase || math.Abs(base.Float()/average.Float()-1) <= 0.005 {
		rate = base // which the average of a short video is a little off from
	}
	if rate.Float() == 0 || rate.Float() > 1000 {
		return Rational{30, 1}, variable
	}
	for rate.Float() > maxRate*1.001 { // 120 becomes 60: every second frame goes
		rate.Den *= 2
	}
	if standard, ok := standardRate(rate); ok {
		return standard, variable
	}
	if rate.Float() < minRate {
		return Rational{minRate, 1}, variable
	}
	return round(rate), variable
}

// standardRate returns the usual rate that one is meant to be.
func standardRate(r Rational) (Rational, bool) {
	for _, standard := range []Rational{{24000, 1001}, {24, 1}, {25, 1}, {30000, 1001}, {30, 1}, {50, 1}, {60000, 1001}, {60, 1}} {
		if math.Abs(r.Float()/standard.Float()-1) < 0.0005 {
			return standard, true
		}
	}
	return r, false
}

// round keeps the clock that the rate makes coarse enough for time stamps to be exact.
func round(r Rational) Rational {
	if r.Den <= 1001 && r.Num <= 60000 {
		return r
	}
	return Rational{int64(math.Round(r.Float() * 1000)), 1000}
}
