package transcode_test

import (
	"fmt"
	"strings"
	"testing"

	"pulsevault/pkg/transcode"
)

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		width, height int
		ladder        string
		want          string // renditions, lowest first
	}{
		{1920, 1080, "", "240p 426x240, 360p 640x360, 480p 854x480, 720p 1280x720, 1080p 1920x1080"},
		{1080, 1920, "", "240p 240x426, 360p 360x640, 480p 480x854, 720p 720x1280, 1080p 1080x1920"},
		{3840, 2160, "", "240p 426x240, 360p 640x360, 480p 854x480, 720p 1280x720, 1080p 1920x1080"},
		{1920, 1080, "240p,720p", "240p 426x240, 720p 1280x720"},
		{640, 640, "", "240p 240x240, 360p 360x360, 480p 480x480"},
		{768, 432, "", "240p 426x240, 360p 640x360"},
		{427, 241, "", "240p 426x240"},
		{321, 241, "", "240p 320x240"},
		{192, 144, "", "144p 192x144"},
		{143, 191, "", "142p 142x190"},
		{640, 360, "1080p", "360p 640x360"},
		{1, 1, "", "2p 2x2"},
	} {
		ladder, err := transcode.ParseRenditions(tc.ladder)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range transcode.MakePlan(transcode.Source{Width: tc.width, Height: tc.height}, ladder).Renditions {
			got = append(got, fmt.Sprintf("%s %dx%d", r.Name, r.Width, r.Height))
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%dx%d, %q: %s, want %s", tc.width, tc.height, tc.ladder, s, tc.want)
		}
	}
}

func TestThePictureStaysAsLongAsTheSound(t *testing.T) {
	for _, tc := range []struct{ picture, sound, hold float64 }{{4, 10, 6}, {4, 4.02, 0}, {10, 4, 0}, {0, 10, 0}, {4, 0, 0}} {
		s := transcode.Source{Width: 640, Height: 360, Duration: tc.picture, SoundDuration: tc.sound}
		if p := transcode.MakePlan(s, transcode.Ladder()); p.Hold != tc.hold {
			t.Errorf("picture %v s, sound %v s: held for %v, want %v", tc.picture, tc.sound, p.Hold, tc.hold)
		}
	}
}

func TestParseRenditions(t *testing.T) {
	for s, want := range map[string]int{"": 5, " ": 5, "240p": 1, "720p, 240p": 2, "240p,240p": 1} {
		if rungs, err := transcode.ParseRenditions(s); err != nil || len(rungs) != want {
			t.Errorf("%q: %v, %v", s, rungs, err)
		}
	}
	for _, s := range []string{"4k", "240", "240p,", ",", "240P"} {
		if rungs, err := transcode.ParseRenditions(s); err == nil || !strings.Contains(err.Error(), "1080p") {
			t.Errorf("%q: %v, %v; want an error that names what is allowed", s, rungs, err)
		}
	}
}

func TestOnlyContainersAreRead(t *testing.T) {
	for contentType, want := range map[string]string{"video/mp4": "mov", "video/webm": "matroska", "video/mp2t": "mpegts", "application/ogg": "ogg"} {
		if d, ok := transcode.Demuxer(contentType); !ok || d != want {
			t.Errorf("%s: %q, %v", contentType, d, ok)
		}
	}
	for _, contentType := range []string{"", "application/vnd.apple.mpegurl", "audio/x-mpegurl", "application/dash+xml", "text/plain", "image/png", "audio/mpeg", "application/pdf"} {
		if d, ok := transcode.Demuxer(contentType); ok {
			t.Errorf("%s is read as %s", contentType, d)
		}
	}
}

// Cuts are counted in pictures: none is shown before its time, and the one before it is.
func TestCuts(t *testing.T) {
	for _, rate := range []transcode.Rational{{1, 1}, {24000, 1001}, {25, 1}, {30000, 1001}, {60000, 1001}, {60, 1}, {12000, 401}, {1234, 1000}} {
		p := transcode.Plan{Source: transcode.Source{FrameRate: rate}}
		for n := int64(1); n < 2000; n++ {
			cut := p.Cut(n)
			if cut*rate.Den < 6*n*rate.Num || (cut-1)*rate.Den >= 6*n*rate.Num {
				t.Fatalf("at %s per second segment %d begins at picture %d", rate, n, cut)
			}
		}
	}
}

func TestCutsOfACopy(t *testing.T) {
	for _, tc := range []struct {
		keys    []float64
		seconds float64
		want    string
	}{
		{[]float64{0}, 5, "[0]"},
		{[]float64{0, 2, 4, 6, 8, 10, 12}, 13, "[0 150 300]"},
		{[]float64{0, 2, 4, 6, 8, 10}, 12, "[0 150]"},
		{[]float64{0, 4, 8, 12}, 15, "[0 200 300]"},
		{[]float64{0, 8, 16, 24}, 30, "[0 200 400 600]"},
		{[]float64{0, 1, 9}, 10, "[0 225]"},
	} {
		s := transcode.Source{Demuxer: "mov", Codec: "h264 High", PixelFormat: "yuv420p", Audio: -1, Width: 640, Height: 360, FrameRate: transcode.Rational{Num: 25, Den: 1},
			Duration: tc.seconds, KeyFrames: tc.keys}
		p := transcode.MakePlan(s, transcode.Ladder())
		if got := fmt.Sprint(p.Copy.Cuts); !p.Copy.OK || got != tc.want {
			t.Errorf("key frames %v: %s, want %s (%s)", tc.keys, got, tc.want, p.Copy.Reason)
		}
	}
}
