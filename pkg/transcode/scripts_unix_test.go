//go:build unix

package transcode_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pulsevault/pkg/transcode"
	"pulsevault/pkg/vault"
)

// A file that names other files and hosts makes nothing open them, whatever type it is taken for.
func TestScriptsReachNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	var connections atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = c.Close()
		}
	}()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := syscall.Mkfifo(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String() + "/x.ts"
	for name, script := range map[string]string{
		"m3u8":      "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n" + url + "\n#EXTINF:6,\nfile://" + secret + "\n#EXT-X-ENDLIST\n",
		"m3u8 file": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n" + secret + "\n#EXT-X-ENDLIST\n",
		"concat":    "ffconcat version 1.0\nfile '" + secret + "'\nfile '" + url + "'\n",
		"dash":      `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation id="1"><BaseURL>` + url + `</BaseURL></Representation></AdaptationSet></Period></MPD>`,
		"asx":       "[Reference]\nRef1=" + url + "\n",
	} {
		for _, contentType := range []string{"video/mp4", "video/webm", "video/x-msvideo", "video/mpeg", "video/mp2t", "video/x-flv", "video/ogg", "video/x-ms-asf"} {
			w := newWorld(t)
			id := w.add(write(t, script), contentType)
			err := w.Transcode(t.Context(), id, false)
			if v := w.get(id); vault.KindOf(err) != vault.Unprocessable || v.Status != vault.TranscodeFailed {
				t.Errorf("%s as %s: %v, %s", name, contentType, err, v.Status)
			}
			// A program that has the pipe open for reading lets us open it for writing.
			if f, err := os.OpenFile(secret, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
				t.Errorf("%s as %s: the file is being read", name, contentType)
				_ = f.Close()
			}
		}
	}
	time.Sleep(50 * time.Millisecond)
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// A copied picture turns out to have another number of frames than those that are encoded: then no picture is copied.
func TestACopyThatDoesNotFit(t *testing.T) {
	for name, pieces := range map[string]float64{"whole": 0, "in pieces": 7} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			q := w.inPieces(pieces)
			w.Ladder = []transcode.Rung{{"240p", 240, 400_000, 64_000}, {"360p", 360, 20_000_000, 96_000}}
			id := w.add(copyable(t), "video/mp4")
			good, err := exec.LookPath("ffmpeg")
			if err != nil {
				t.Fatal(err)
			}
			bin := t.TempDir()
			// Where one rendition only is encoded, of two, pictures get lost.
			script := "#!/bin/sh\nfor a; do case $a in\n*fps=25/1*scale=*scale=*|*scale=640:360*) ;;\n*setpts*fps=25/1*) a=$(echo \"$a\" | sed 's/,scale=/,trim=end_pts=170,scale=/') ;;\n*fps=25/1*) a=$(echo \"$a\" | sed 's/,scale=/,trim=end_pts=320,scale=/') ;;\nesac\nset -- \"$@\" \"$a\"; shift; done\nexec '" + good + "' \"$@\"\n"
			if err := os.WriteFile(filepath.Join(bin, "ffmpeg"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			_ = q.enqueue(t.Context(), vault.Task{Type: vault.TranscodeVideo, VideoID: id})
			w.work(q, 1)
			if v := w.get(id); v.Status != vault.Transcoded || v.Duration != 13 {
				t.Errorf("recorded %+v", v)
			}
			wantPlayable(t, w.hls(id), "640x360", true, 13)
			w.wantNothingLeft(id)
		})
	}
}

// Segments are read while ffmpeg makes the next; one that was not whole by then, after all, is read again.
func TestASegmentThatGrowsWhileTheNextIsMade(t *testing.T) {
	w := newWorld(t)
	id := w.add(copyable(t), "video/mp4")
	good, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	bin, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	script := `#!/bin/sh
case "$*" in *"-c copy"*source.m3u8) ;; *) exec '` + good + `' "$@";; esac
mkdir made && cd made && '` + good + `' "$@" || exit 1
head -c $((188 * 500)) source_000.ts >../source_000.ts
cp source_001.ts ..; sleep 0.3
mv source* .. && cd .. && rmdir made && touch '` + seen + `'
`
	if err := os.WriteFile(filepath.Join(bin, "ffmpeg"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	w.during(func() {
		if got := variants(t, w.hls(id)); got != "source.m3u8" {
			t.Errorf("meanwhile the master playlist leads to %s", got)
		}
		wantLint(t, w.hls(id))
	})
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(seen); err != nil {
		t.Error(err)
	}
	wantPlayable(t, w.hls(id), "640x360", true, 13)
}
