package storyboard_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/storyboard"
)

const written = `WEBVTT

00:00:00.000 --> 00:00:02.000
storyboard_000.jpg#xywh=0,0,160,90

00:00:02.000 --> 100:59:03.500
https://bucket.example/storyboard_001.jpg?a=1&b=%2F#xywh=160,90,158,90
`

var cues = []storyboard.Cue{
	{0, 2 * time.Second, "storyboard_000.jpg", 0, 0, 160, 90},
	{2 * time.Second, 100*time.Hour + 59*time.Minute + 3500*time.Millisecond, "https://bucket.example/storyboard_001.jpg?a=1&b=%2F", 160, 90, 158, 90},
}

func TestWrittenAndRead(t *testing.T) {
	data, err := storyboard.Marshal(cues)
	if err != nil || string(data) != written {
		t.Errorf("%v, written as\n%s", err, data)
	}
	read, err := storyboard.Unmarshal([]byte(written))
	if err != nil || !slices.Equal(read, cues) {
		t.Errorf("read as %+v, %v", read, err)
	}
	if read, err := storyboard.Unmarshal([]byte("WEBVTT\n")); err != nil || len(read) != 0 {
		t.Errorf("no cues are read as %+v, %v", read, err)
	}
}

func TestMarshalRefuses(t *testing.T) {
	good := storyboard.Cue{To: time.Second, URI: "x.jpg", Width: 1, Height: 1}
	for name, change := range map[string]func(*storyboard.Cue){
		"no time":           func(c *storyboard.Cue) { c.To = 0 },
		"before the start":  func(c *storyboard.Cue) { c.From = -time.Second },
		"microseconds":      func(c *storyboard.Cue) { c.To += time.Microsecond },
		"no URI":            func(c *storyboard.Cue) { c.URI = "" },
		"a fragment":        func(c *storyboard.Cue) { c.URI = "x.jpg#t=1" },
		"a second line":     func(c *storyboard.Cue) { c.URI = "x.jpg\n\n00:00:01.000" },
		"an arrow":          func(c *storyboard.Cue) { c.URI = "x-->y" },
		"nothing of it":     func(c *storyboard.Cue) { c.Width = 0 },
		"outside":           func(c *storyboard.Cue) { c.X = -1 },
		"before the former": func(c *storyboard.Cue) { c.From = 999 * time.Millisecond },
	} {
		c := good
		change(&c)
		list := []storyboard.Cue{good, c}
		if name != "before the former" {
			list = list[1:]
		}
		if data, err := storyboard.Marshal(list); err == nil {
			t.Errorf("%s: written as %s", name, data)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"another format":       {"WEBVTT", "#EXTM3U"},
		"a byte order mark":    {"WEBVTT", "\ufeffWEBVTT"},
		"61 seconds":           {"00:00:02.000 -->", "00:00:61.000 -->"},
		"backwards":            {"00:00:00.000 -->", "00:00:03.000 -->"},
		"overlapping":          {"--> 00:00:02.000", "--> 00:00:02.001"},
		"no rectangle":         {"#xywh=0,0,160,90", ""},
		"percent":              {"#xywh=0", "#xywh=percent:0"},
		"nothing of a picture": {"160,90\n\n", "160,0\n\n"},
		"more than there is":   {"xywh=0,", "xywh=99999999999999999999,"},
		"too long":             {"100:59", "9999999:59"},
		"settings":             {"02.000\n", "02.000 align:start\n"},
		"an identifier":        {"\n\n00:00:00", "\n\n1\n00:00:00"},
		"a torn end":           {"158,90\n", "158,"},
	} {
		text := strings.Replace(written, change[0], change[1], 1)
		if text == written {
			t.Errorf("%s: nothing was changed", name)
		}
		if read, err := storyboard.Unmarshal([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", name, read)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(written))
	f.Add([]byte("WEBVTT\n\n00:00:00.000 --> 00:00:00.001\nx#xywh=0,0,1,1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := storyboard.Unmarshal(data)
		if err != nil {
			return
		}
		again, err := storyboard.Marshal(read)
		if err != nil {
			t.Fatalf("%q is read, and cannot be written: %v", data, err)
		}
		same, err := storyboard.Unmarshal(again)
		if err != nil || !slices.Equal(same, read) {
			t.Errorf("%q is read as %+v and then as %+v, %v", data, read, same, err)
		}
	})
}
