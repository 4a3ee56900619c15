package transcode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/mpegts"
	"pulsevault/pkg/transcode"
	"pulsevault/pkg/vault"
)

var update = flag.Bool("update", false, "write the plans in testdata anew, and what ffprobe says of the originals that are made here")

// Whatever people bring comes out right: each original is made, transcoded and looked at from outside.
func TestOriginals(t *testing.T) {
	for _, o := range originals() {
		t.Run(o.name, func(t *testing.T) {
			w := newWorld(t)
			path := o.path(t)
			id := w.add(path, o.contentType)
			answer := probe(t, path, o.contentType)
			if *update {
				writeGolden(t, o.name+".json", answer)
			}
			if err := w.Transcode(t.Context(), id, false); err != nil {
				t.Fatal(err)
			}
			if v := w.get(id); v.Status != vault.Transcoded {
				t.Errorf("recorded %+v", v)
			}
			wantLint(t, w.hls(id))
			o.wantOutcome(t, w.hls(id), planOf(t, answer))
		})
	}
}

// wantOutcome compares what was published with what the original is known to be, and with its plan.
func (o original) wantOutcome(t *testing.T, folder string, plan transcode.Plan) {
	t.Helper()
	var master playlist.Multivariant
	unmarshal(t, &master, filepath.Join(folder, "master.m3u8"))
	for _, v := range master.Variants {
		if math.Abs(*v.FrameRate-o.rate) > 0.001 {
			t.Errorf("%s: FRAME-RATE %v, want %v", v.URI, *v.FrameRate, o.rate)
		}
		o.wantRendition(t, folder, v.URI, plan)
	}
	best := master.Variants[len(master.Variants)-1]
	if best.Resolution != o.size {
		t.Errorf("the best rendition is %s, want %s", best.Resolution, o.size)
	}
	if o.corners != "" {
		if got := cornersOf(t, filepath.Join(folder, best.URI)); got != o.corners {
			t.Errorf("the corners are %s, want %s", got, o.corners)
		}
	}
}

// wantRendition counts pictures, cuts and sound in the bytes of a rendition.
func (o original) wantRendition(t *testing.T, folder, name string, plan transcode.Plan) {
	t.Helper()
	var list playlist.Media
	unmarshal(t, &list, filepath.Join(folder, name))
	pictures, sound := 0, 0.0
	for i, seg := range list.Segments {
		if cut := plan.Cut(int64(i)); cut != int64(pictures) {
			t.Errorf("%s begins at picture %d, the plan says %d", seg.URI, pictures, cut)
		}
		f, err := os.Open(filepath.Join(folder, seg.URI))
		if err != nil {
			t.Fatal(err)
		}
		s, err := mpegts.Read(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		pictures += len(s.Pictures)
		for _, p := range s.Sound {
			sound += float64(p.Frames) * mpegts.FrameSamples / 48000
		}
		if len(s.Formats) > 0 && s.Formats[0] != (mpegts.Format{ObjectType: 2, Rate: 48000, Channels: 2}) {
			t.Errorf("%s: sound %+v", seg.URI, s.Formats)
		}
	}
	if off := pictures - o.pictures; off < -1 || off > 1 {
		t.Errorf("%s: %d pictures, want %d", name, pictures, o.pictures)
	}
	// An encoder's delay and its last frame, which is filled up, come on top.
	if extra := sound - o.sound; math.Abs(extra) > max(0.08, 1/o.rate) || (o.sound == 0) != (sound == 0) {
		t.Errorf("%s: %.3f s of sound, want %.3f", name, sound, o.sound)
	}
}

// cornersOf names the colours in the corners of the first picture: red, green, blue, white.
func cornersOf(t *testing.T, path string) string {
	t.Helper()
	const side = 64
	rgb, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-frames:v", "1",
		"-vf", fmt.Sprintf("scale=%d:%d,format=rgb24", side, side), "-f", "rawvideo", "-").Output()
	if err != nil || len(rgb) != 3*side*side {
		t.Fatalf("first picture of %s: %v, %d bytes", filepath.Base(path), err, len(rgb))
	}
	var names strings.Builder
	for _, at := range [][2]int{{side / 4, side / 4}, {side * 3 / 4, side / 4}, {side / 4, side * 3 / 4}, {side * 3 / 4, side * 3 / 4}} {
		p := rgb[3*(at[1]*side+at[0]):][:3]
		if bright := slices.Max(p); slices.Min(p) > bright/4*3 {
			names.WriteByte('W')
		} else {
			names.WriteByte("RGB"[bytes.IndexByte(p, bright)])
		}
	}
	return names.String()
}

// probe asks ffprobe what a plan is made of, with the key frames, and forgets what differs from run to run.
func probe(t *testing.T, path, contentType string) []byte {
	t.Helper()
	demuxer, ok := transcode.Demuxer(contentType)
	if !ok {
		t.Fatalf("%s is not accepted", contentType)
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_packets",
		"-show_entries", "packet=stream_index,pts_time,flags", "-of", "json", "-f", demuxer, path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatal(err)
	}
	format := answer["format"].(map[string]any)
	format["filename"], format["format_name"] = "x", demuxer
	delete(format, "size")
	for _, s := range answer["streams"].([]any) {
		kinds, _ := s.(map[string]any)["disposition"].(map[string]any)
		maps.DeleteFunc(kinds, func(_ string, is any) bool { return is == 0.0 })
	}
	answer["packets"] = slices.DeleteFunc(answer["packets"].([]any), func(p any) bool {
		packet := p.(map[string]any)
		return !strings.HasPrefix(packet["flags"].(string), "K") || packet["stream_index"] != 0.0
	})
	out, err = json.MarshalIndent(answer, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func planOf(t *testing.T, answer []byte) transcode.Plan {
	t.Helper()
	source, err := transcode.ReadProbe(answer, demuxerOf(t, answer))
	if err != nil {
		t.Fatal(err)
	}
	return transcode.MakePlan(source, transcode.Ladder())
}

func demuxerOf(t *testing.T, answer []byte) string {
	t.Helper()
	var p struct {
		Format struct {
			Name string `json:"format_name"`
		}
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		t.Fatal(err)
	}
	return p.Format.Name
}

const golden = "testdata/plan"

func writeGolden(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(golden, 0o755); err != nil { //nolint:gosec // part of the source tree
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(golden, name), content, 0o644); err != nil { //nolint:gosec // part of the source tree
		t.Fatal(err)
	}
}

// What ffprobe says of a file decides alone what is done with it. testdata/plan has the answers of ffprobe 5.1, some edited
// by hand for what ffmpeg cannot make, and beside each the plan, or why there is none.
func TestPlans(t *testing.T) {
	answers, err := filepath.Glob(filepath.Join(golden, "*.json"))
	if err != nil || len(answers) == 0 {
		t.Fatalf("no answers in %s: %v", golden, err)
	}
	for _, path := range answers {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			answer, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got string
			var refused *vault.Error
			source, err := transcode.ReadProbe(answer, demuxerOf(t, answer))
			switch {
			case errors.As(err, &refused):
				got = "refused: " + refused.Message + "\n"
			case err != nil:
				t.Fatal(err)
			default:
				got = transcode.MakePlan(source, transcode.Ladder()).String()
			}
			if *update {
				writeGolden(t, name+".txt", []byte(got))
			}
			want, err := os.ReadFile(filepath.Join(golden, name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the plan is\n%s\nwant\n%s", got, want)
			}
		})
	}
}
