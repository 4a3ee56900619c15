// Package storyboard reads and writes the file that tells a player which part of which picture shows which moment of a
// video, for previews while somebody seeks. It is WebVTT (W3C, WebVTT: The Web Video Text Tracks Format, section 4) whose
// cues hold metadata and not captions: a URI with the rectangle in its fragment, in pixels, as Media Fragments URI 1.0 has
// it (section 4.2.2):
//
//	WEBVTT
//
//	00:00:00.000 --> 00:00:02.000
//	storyboard_000.jpg#xywh=0,0,160,90
//
//	00:00:02.000 --> 00:00:03.500
//	storyboard_000.jpg#xywh=160,0,160,90
//
// Libraries for WebVTT are for captions: they write a & as &amp;, which in metadata is no escape, and signed URIs have many.
// So this reads, strictly, what it writes, and nothing else of WebVTT: no identifiers, settings, notes or styles.
package storyboard

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Cue is a moment and what shows it. Times are whole milliseconds.
type Cue struct {
	From, To      time.Duration // the latter is the first moment that is no longer shown by it
	URI           string        // of the picture, without a fragment
	X, Y          int           // upper left corner in the picture
	Width, Height int
}

const header = "WEBVTT"

// Marshal writes cues. They must follow each other in time.
func Marshal(cues []Cue) ([]byte, error) {
	var b strings.Builder
	b.WriteString(header + "\n")
	for i, c := range cues {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("storyboard: cue %d: %w", i, err)
		}
		if i > 0 && c.From < cues[i-1].To {
			return nil, fmt.Errorf("storyboard: cue %d begins before the one before it has ended", i)
		}
		fmt.Fprintf(&b, "\n%s --> %s\n%s#xywh=%d,%d,%d,%d\n", stamp(c.From), stamp(c.To), c.URI, c.X, c.Y, c.Width, c.Height)
	}
	return []byte(b.String()), nil
}

// Unmarshal reads what Marshal wrote.
func Unmarshal(data []byte) ([]Cue, error) {
	text, ok := strings.CutPrefix(string(data), header+"\n")
	if !ok {
		return nil, errors.New("storyboard: it does not begin as WebVTT")
	}
	var cues []Cue
	for text != "" {
		block := cueForm.FindStringSubmatch(text)
		if block == nil {
			return nil, fmt.Errorf("storyboard: what follows %d cues is no cue", len(cues))
		}
		text = text[len(block[0]):]
		c, err := parse(block)
		if err == nil {
			err = c.check()
		}
		if err == nil && len(cues) > 0 && c.From < cues[len(cues)-1].To {
			err = errors.New("it begins before the one before it has ended")
		}
		if err != nil {
			return nil, fmt.Errorf("storyboard: cue %d: %w", len(cues), err)
		}
		cues = append(cues, c)
	}
	return cues, nil
}

var (
	cueForm = regexp.MustCompile(`^\n(\d{2,}):(\d\d):(\d\d)\.(\d{3}) --> (\d{2,}):(\d\d):(\d\d)\.(\d{3})\n([^\s#]+)#xywh=(\d+),(\d+),(\d+),(\d+)\n`)
	uriForm = regexp.MustCompile(`^[^\s#]+$`)
)

// parse makes a cue of what cueForm has found.
func parse(block []string) (Cue, error) {
	var n [13]int
	for i, digits := range block {
		if i == 0 || i == 9 { // all of it, and the URI
			continue
		}
		value, err := strconv.ParseInt(digits, 10, 32)
		if err != nil {
			return Cue{}, err
		}
		n[i-1] = int(value)
	}
	if max(n[1], n[2], n[5], n[6]) > 59 {
		return Cue{}, errors.New("there are no more than 59 minutes and seconds")
	}
	at := func(n []int) time.Duration {
		return time.Duration(n[0])*time.Hour + time.Duration(n[1])*time.Minute + time.Duration(n[2])*time.Second + time.Duration(n[3])*time.Millisecond
	}
	if max(n[0], n[4]) > maxHours {
		return Cue{}, errors.New("no video is that long")
	}
	return Cue{From: at(n[0:]), To: at(n[4:]), URI: block[9], X: n[9], Y: n[10], Width: n[11], Height: n[12]}, nil
}

// maxHours keeps times within a time.Duration.
const maxHours = 1 << 20

func (c Cue) check() error {
	switch {
	case c.From < 0 || c.To <= c.From || c.To/time.Hour > maxHours:
		return errors.New("it does not end after it begins")
	case c.From%time.Millisecond != 0 || c.To%time.Millisecond != 0:
		return errors.New("its times are not whole milliseconds")
	case !uriForm.MatchString(c.URI) || strings.Contains(c.URI, "-->"):
		return errors.New("its URI is none that can stand there")
	case c.X < 0 || c.Y < 0 || c.Width <= 0 || c.Height <= 0:
		return errors.New("its rectangle is none")
	}
	return nil
}

func stamp(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d:%02d.%03d", d/time.Hour, d/time.Minute%60, d/time.Second%60, d/time.Millisecond%1000)
}
