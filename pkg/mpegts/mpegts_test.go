package mpegts_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/mpegts"
)

// clip makes a transport stream with ffmpeg.
func clip(t *testing.T, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	path := filepath.Join(t.TempDir(), "x.ts")
	all := append(append([]string{"-nostdin", "-v", "error"}, args...), path)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", all...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func lavfi(source string) []string { return []string{"-f", "lavfi", "-i", source} }

func read(t *testing.T, data []byte) mpegts.Segment {
	t.Helper()
	s, err := mpegts.Read(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatFFmpegMakes(t *testing.T) {
	args := append(lavfi("testsrc2=size=720x482:rate=30000/1001:duration=2"), lavfi("sine=sample_rate=44100:duration=2")...)
	data := clip(t, append(args, "-vf", "setsar=32/27", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "20", "-profile:v", "main", "-level", "3.1",
		"-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "1")...)
	s := read(t, data)
	if s.Size != int64(len(data)) || len(s.Faults)+len(s.Breaks) > 0 || !s.OpensIDR {
		t.Errorf("size %d, faults %v, breaks %v, opens on an IDR %v", s.Size, s.Faults, s.Breaks, s.OpensIDR)
	}
	want := mpegts.Sequence{Profile: [3]byte{77, 0x40, 31}, Width: 720, Height: 482, Aspect: [2]int{32, 27}, Chroma: 1, Depth: 8, Progressive: true, Rate: 30000.0 / 1001}
	if len(s.Sequences) != 1 || s.Sequences[0] != want || want.Codec() != "avc1.4d401f" {
		t.Errorf("sequences %+v, want %+v", s.Sequences, want)
	}
	if w, h := want.Shown(); w != 853 || h != 482 {
		t.Errorf("shown as %dx%d", w, h)
	}
	if len(s.Formats) != 1 || s.Formats[0] != (mpegts.Format{ObjectType: 2, Rate: 44100, Channels: 1}) || s.Formats[0].Codec() != "mp4a.40.2" {
		t.Errorf("sound %+v", s.Formats)
	}
	if len(s.Pictures) != 60 {
		t.Fatalf("%d pictures", len(s.Pictures))
	}
	idr := ""
	for i, p := range s.Pictures {
		if p.IDR {
			idr += fmt.Sprint(i, " ")
		}
		if p.DTS != s.Pictures[0].DTS+int64(i)*3003 || p.PTS < p.DTS || p.Clock > p.DTS {
			t.Errorf("picture %d: %+v", i, p)
		}
	}
	if idr != "0 20 40 " {
		t.Errorf("IDR pictures: %s", idr)
	}
	frames := 0
	for _, p := range s.Sound {
		frames += p.Frames
	}
	if frames != 88 { // two seconds, and the encoder's own delay
		t.Errorf("%d frames of sound", frames)
	}
}

func TestNoTransportStream(t *testing.T) {
	good := clip(t, append(lavfi("testsrc2=size=64x64:rate=25:duration=0.2"), "-c:v", "libx264", "-pix_fmt", "yuv420p")...)
	for name, tc := range map[string]struct {
		data []byte
		says string
	}{
		"text":          {[]byte(strings.Repeat("x", 400)), "packet 0 is not"},
		"cut":           {good[:len(good)-5], "ends within packet"},
		"bad in middle": {append(append([]byte{}, good[:376]...), bytes.Repeat([]byte{1}, 376)...), "packet 2 is not"},
	} {
		if _, err := mpegts.Read(bytes.NewReader(tc.data)); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// packets cuts a section or a packet of a stream into transport packets, the last filled up.
func packets(pid int, count byte, payload []byte) (out []byte) {
	for first := true; len(payload) > 0; first = false {
		head := []byte{0x47, byte(pid >> 8), byte(pid), 0x10 | count&0x0f}
		if first {
			head[1] |= 0x40
		}
		n := min(len(payload), mpegts.PacketSize-4)
		out = append(append(out, head...), payload[:n]...)
		out = append(out, bytes.Repeat([]byte{0xff}, mpegts.PacketSize-4-n)...)
		payload = payload[n:]
		count++
	}
	return out
}

// section makes a program table of what is in it, with its checksum.
func section(id byte, number uint16, content []byte) []byte {
	n := 5 + len(content) + 4
	s := append([]byte{id, 0xb0 | byte(n>>8), byte(n), byte(number >> 8), byte(number), 0xc1, 0, 0}, content...)
	sum := ^uint32(0)
	for _, b := range s {
		for bit := 7; bit >= 0; bit-- {
			top := byte(sum>>31) ^ b>>bit&1
			sum <<= 1
			if top == 1 {
				sum ^= 0x04c11db7
			}
		}
	}
	return append([]byte{0}, append(s, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))...)
}

// A program map with many descriptors runs over several packets.
func TestATableOverSeveralPackets(t *testing.T) {
	const pmt, video = 0x100, 0x123
	descriptor := append([]byte{0x05, 250}, bytes.Repeat([]byte{0x20}, 250)...)
	info := append(append([]byte{}, descriptor...), descriptor...)
	content := append([]byte{0xe1, 0x23, 0xf0 | byte(len(info)>>8), byte(len(info))}, info...)
	content = append(content, 0x1b, 0xe1, 0x23, 0xf0, 0)
	var data []byte
	data = append(data, packets(0, 0, section(0, 1, []byte{0, 0, 0xe0, 0x10, 0, 1, 0xe1, 0x00}))...) // the network's, then ours
	table := packets(pmt, 3, section(2, 1, content))
	data = append(data, table...)
	pes := []byte{0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1}
	data = append(data, packets(video, 0, append(pes, 0, 0, 1, 0x65, 0x88, 0))...)
	s := read(t, data)
	if len(table) != 3*mpegts.PacketSize || len(s.Pictures) != 1 || !s.Pictures[0].IDR {
		t.Errorf("%d bytes of table, pictures %+v, faults %v", len(table), s.Pictures, s.Faults)
	}
	if s.OpensIDR {
		t.Error("there is no parameter set")
	}
	if len(s.Faults) != 1 || !strings.Contains(s.Faults[0], "no program clock") {
		t.Errorf("faults %v", s.Faults)
	}
	data[mpegts.PacketSize+60] ^= 1
	if s := read(t, data); len(s.Pictures) > 0 || !strings.Contains(strings.Join(s.Faults, ";"), "checksum of the program map") {
		t.Errorf("a damaged table is believed: %v", s.Faults)
	}
}

func TestMissingPacketsShow(t *testing.T) {
	good := clip(t, append(lavfi("testsrc2=size=320x240:rate=25:duration=0.4"), "-c:v", "libx264", "-pix_fmt", "yuv420p")...)
	if s := read(t, good); len(s.Breaks) > 0 {
		t.Fatalf("breaks %v", s.Breaks)
	}
	const at = 20 * mpegts.PacketSize
	without := append(append([]byte{}, good[:at]...), good[at+mpegts.PacketSize:]...)
	if s := read(t, without); len(s.Breaks) != 1 || !strings.Contains(s.Breaks[0], "packet id 256") {
		t.Errorf("breaks %v", s.Breaks)
	}
	twice := append(append([]byte{}, good[:at]...), good[at-mpegts.PacketSize:]...)
	if s := read(t, twice); len(s.Breaks) > 0 {
		t.Errorf("a packet that comes twice: %v", s.Breaks)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(packets(0, 0, section(0, 1, []byte{0, 1, 0xe1, 0x00})))
	f.Add(append(packets(0, 0, section(0, 1, []byte{0, 1, 0xe1, 0x00})), packets(0x100, 0, section(2, 1, []byte{0xe1, 1, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0}))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := mpegts.Read(bytes.NewReader(data)); err == nil && s.Size != int64(len(data)) {
			t.Errorf("read %d of %d bytes", s.Size, len(data))
		}
	})
}
