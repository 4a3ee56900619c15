//go:build unix

package transcode_test

import (
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
