package hls_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pulsevault/pkg/hls"
)

func TestAGoodVideo(t *testing.T) {
	dir := publish(t, low(), high())
	report := lint(t, dir)
	if !report.OK() {
		t.Errorf("a good video fails:\n%s", table(t, report))
	}
	for _, r := range report.Results {
		if r.Verdict == hls.Note || (r.Verdict == hls.None) != (r.Rule == "media-type" || r.Rule == "caching") {
			t.Errorf("%s: %s, %s", r.Rule, r.Verdict, r.Evidence)
		}
	}
	for _, place := range []string{filepath.Join(dir, "master.m3u8"), dir} {
		if again := lint(t, place); !slices.Equal(again.Results, report.Results) {
			t.Errorf("%s is found otherwise:\n%s", place, table(t, again))
		}
	}
}

// Each way of breaking a good video breaks one rule, and the linter names that one and no other.
func TestEveryRuleCanFail(t *testing.T) {
	good := publish(t, low(), high())
	type breaks struct {
		rule string
		how  func(t *testing.T, dir string)
	}
	master := func(old, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "master.m3u8"), old, with) }
	}
	media := func(old, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { edit(t, filepath.Join(dir, "high.m3u8"), old, with) }
	}
	segment := func(how func(t *testing.T, path string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { how(t, filepath.Join(dir, "high_001.ts")) }
	}
	for name, b := range map[string]breaks{
		"no EXTM3U":            {"syntax", media("#EXTM3U\n", "")},
		"two versions":         {"syntax", media("#EXT-X-VERSION:3\n", "#EXT-X-VERSION:3\n#EXT-X-VERSION:3\n")},
		"no URI":               {"syntax", master("high.m3u8\n", "high.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\n")},
		"version too low":      {"version", media("#EXT-X-VERSION:3", "#EXT-X-VERSION:2")},
		"absolute URI":         {"uris", media("high_001.ts", "http://127.0.0.1:1/high_001.ts")},
		"rooted URI":           {"uris", media("high_001.ts", "/high_001.ts")},
		"URI leads out":        {"uris", media("high_001.ts", "../"+filepath.Base(good)+"/high_001.ts")},
		"variant leads out":    {"uris", master("high.m3u8", "../high.m3u8")},
		"segment missing":      {"segments", segment(remove)},
		"segment empty":        {"segments", segment(func(t *testing.T, path string) { write(t, path, "") })},
		"variant missing":      {"segments", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "high.m3u8")) }},
		"not independent":      {"independent", master("#EXT-X-INDEPENDENT-SEGMENTS\n", "")},
		"no AVERAGE-BANDWIDTH": {"attributes", master("AVERAGE-BANDWIDTH", "X-BANDWIDTH")},
		"no FRAME-RATE":        {"attributes", master(",FRAME-RATE=25.000", "")},
		"wrong profile":        {"codecs", master("avc1.64000d", "avc1.42000d")},
		"no sound in CODECS":   {"codecs", master(",mp4a.40.2", "")},
		"wrong size":           {"resolution", master("320x240", "320x242")},
		"wrong rate":           {"frame-rate", master("25.000", "24.000")},
		"BANDWIDTH too low":    {"bandwidth", master(":BANDWIDTH=", ":BANDWIDTH=1000,WAS=")},
		"BANDWIDTH absurd":     {"bandwidth", master(":BANDWIDTH=", ":BANDWIDTH=9")},
		"average too low":      {"average-bandwidth", master("AVERAGE-BANDWIDTH=", "AVERAGE-BANDWIDTH=1000,WAS=")},
		"target too short":     {"target-duration", media("TARGETDURATION:2", "TARGETDURATION:1")},
		"target too long":      {"target-duration", media("TARGETDURATION:2", "TARGETDURATION:3")},
		"no target":            {"target-duration", media("#EXT-X-TARGETDURATION:2\n", "")},
		"wrong EXTINF":         {"extinf", media("#EXTINF:2.000000", "#EXTINF:2.100000")},
		"no end":               {"ended", media("#EXT-X-ENDLIST\n", "")},
		"no type":              {"ended", media("#EXT-X-PLAYLIST-TYPE:VOD\n", "")},
		"checksum of a table":  {"transport", segment(spoilTable)},
		"ends within a packet": {"transport", segment(func(t *testing.T, path string) { write(t, path, read(t, path)[:188*20+50]) })},
		"no transport stream":  {"transport", segment(func(t *testing.T, path string) { write(t, path, strings.Repeat("x", 1880)) })},
		"counter":              {"continuity", segment(spoilCounter)},
		"no IDR":               {"idr", segment(func(t *testing.T, path string) { edit(t, path, "\x00\x00\x01\x65", "\x00\x00\x01\x61") })},
		"no parameter set":     {"idr", segment(func(t *testing.T, path string) { edit(t, path, "\x00\x00\x01\x67", "\x00\x00\x01\x6c") })},
		"picture late":         {"video-time", segment(func(t *testing.T, path string) { delay(t, path, videoStream, 7, 1800) })},
		"clock ahead":          {"clock", segment(spoilClock)},
		"sound late":           {"audio-time", segment(func(t *testing.T, path string) { delay(t, path, audioStream, 3, 3000) })},
		"one silent": {"sound", func(t *testing.T, dir string) {
			for _, name := range []string{"high_000.ts", "high_001.ts", "high_002.ts"} {
				dropSound(t, filepath.Join(dir, name))
			}
			text := read(t, filepath.Join(dir, "master.m3u8"))
			at := strings.LastIndex(text, ",mp4a.40.2")
			write(t, filepath.Join(dir, "master.m3u8"), text[:at]+text[at+len(",mp4a.40.2"):])
		}},
		"sound without a segment": {"audio-time", segment(dropSound)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			b.how(t, dir)
			wantOnly(t, dir, b.rule)
		})
	}
}

func wantOnly(t *testing.T, place, rule string) {
	t.Helper()
	if report := lint(t, place); !slices.Equal(report.Failed(), []string{rule}) {
		t.Errorf("want %s alone to fail:\n%s", rule, table(t, report))
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func spoilTable(t *testing.T, path string) {
	packet(t, path, 0, func(p []byte) bool {
		isTable := p[1]&0x40 != 0 && p[4] == 0 && p[5] == 2
		if isTable {
			p[5+3+5] ^= 0x20 // of its version
		}
		return isTable
	})
}

func spoilCounter(t *testing.T, path string) {
	packet(t, path, 50, func(p []byte) bool {
		p[3] = p[3]&0xf0 | (p[3]+7)&0x0f
		return true
	})
}

func spoilClock(t *testing.T, path string) {
	packet(t, path, 2, func(p []byte) bool {
		hasClock := p[3]&0x20 != 0 && p[4] >= 7 && p[5]&0x10 != 0
		if hasClock {
			p[7] += 4 // 2^19 units, almost six seconds
		}
		return hasClock
	})
}

// dropSound takes the sound of a segment away and leaves its packets, as ones that nobody reads.
func dropSound(t *testing.T, path string) {
	data := []byte(read(t, path))
	for i := 0; i < len(data); i += 188 {
		if pid := int(data[i+1]&0x1f)<<8 | int(data[i+2]); pid == 0x101 {
			data[i+1], data[i+2] = data[i+1]|0x1f, 0xff
		}
	}
	write(t, path, string(data))
}

// Variants that do not fit together, or are made in a way that not every player has.
func TestVariantsThatDoNotFit(t *testing.T) {
	for name, tc := range map[string]struct {
		rule  string
		rungs []rung
	}{
		"10 bit": {"picture", []rung{low().with(func(r *rung) {
			r.codecs, r.encode = "avc1.6e000d,mp4a.40.2", []string{"-profile:v", "high10", "-pix_fmt", "yuv420p10le"}
		})}},
		"4:2:2": {"picture", []rung{low().with(func(r *rung) {
			r.codecs, r.encode = "avc1.7a000d,mp4a.40.2", []string{"-profile:v", "high422", "-pix_fmt", "yuv422p"}
		})}},
		"interlaced": {"picture", []rung{low().with(func(r *rung) {
			r.codecs, r.encode = "avc1.640015,mp4a.40.2", []string{"-level", "2.1", "-flags", "+ildct+ilme"}
		})}},
		"mono and stereo": {"sound", []rung{low(), high().with(func(r *rung) { r.encode = []string{"-ac", "1"} })}},
		"44.1 and 48 kHz": {"sound", []rung{low(), high().with(func(r *rung) { r.encode = []string{"-ar", "44100"} })}},
		"sound cut off":   {"sound-length", []rung{low(), high().with(func(r *rung) { r.sound = 4.3 })}},
		"another shape":   {"aspect", []rung{low(), high().with(func(r *rung) { r.size = "320x180" })}},
		"other cuts":      {"same-cuts", []rung{low(), high().with(func(r *rung) { r.cut = 1 })}},
		"cut short":       {"same-length", []rung{low(), high().with(func(r *rung) { r.seconds, r.sound = 4.2, 4.2 })}},
	} {
		t.Run(name, func(t *testing.T) { wantOnly(t, publish(t, tc.rungs...), tc.rule) })
	}
}

// While a video is being made, what is there of it must be right, and what is not there yet is no fault.
func TestAnUnfinishedVideo(t *testing.T) {
	dir := publish(t, low(), high())
	path := filepath.Join(dir, "high.m3u8")
	whole := read(t, path)
	growing := strings.Replace(whole[:strings.Index(whole, "#EXTINF:0.6")], "VOD", "EVENT", 1)
	write(t, path, growing)
	report := lint(t, dir)
	if !report.OK() {
		t.Errorf("what is there is right, but:\n%s", table(t, report))
	}
	if !slices.ContainsFunc(report.Results, func(r hls.Result) bool { return r.Rule == "ended" && r.Verdict == hls.Note }) {
		t.Errorf("nobody says that it has not ended:\n%s", table(t, report))
	}
	write(t, path, strings.Replace(growing, "TARGETDURATION:2", "TARGETDURATION:5", 1))
	if report := lint(t, dir); !report.OK() {
		t.Errorf("longer segments may follow, but:\n%s", table(t, report))
	}
	write(t, path, strings.Replace(growing, "TARGETDURATION:2", "TARGETDURATION:1", 1))
	wantOnly(t, dir, "target-duration")
}

// Sound that begins or ends apart from the picture in every variant alike is the source's.
func TestSoundOfAnotherLengthIsNoted(t *testing.T) {
	short := func(r *rung) { r.sound = 2.5 }
	report := lint(t, publish(t, low().with(short), high().with(short)))
	if !report.OK() || !strings.Contains(table(t, report), "ends -2.0") {
		t.Errorf("found\n%s", table(t, report))
	}
}

func TestWhatIsNoVideo(t *testing.T) {
	dir := t.TempDir()
	if _, err := hls.NewSource(dir); err == nil || !strings.Contains(err.Error(), "master.m3u8") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := hls.NewSource(filepath.Join(dir, "nothing")); err == nil {
		t.Error("no error for what is not there")
	}
	write(t, filepath.Join(dir, "master.m3u8"), "<html>")
	source, err := hls.NewSource(dir)
	if err != nil {
		t.Fatal(err)
	}
	if report, err := hls.Lint(t.Context(), source); err == nil {
		t.Errorf("HTML is taken for a playlist:\n%s", table(t, report))
	}
}

// After 26.5 hours time stamps begin again, which is no gap.
func TestTimeStampsThatBeginAgain(t *testing.T) {
	late := func(r *rung) { r.encode = []string{"-output_ts_offset", "95440"} }
	dir := publish(t, low().with(late), high().with(late))
	if report := lint(t, dir); !report.OK() {
		t.Errorf("found\n%s", table(t, report))
	}
	delay(t, filepath.Join(dir, "high_001.ts"), videoStream, 7, 1800)
	wantOnly(t, dir, "video-time")
}
