package finalize_test

import (
	"bytes"
	"mime"
	"regexp"
	"testing"

	"pulsevault/pkg/finalize"
	"pulsevault/pkg/transcode"
)

// namesFiles are beginnings of what leads ffmpeg to other files: none of it may pass for a video.
var namesFiles = regexp.MustCompile(`^(\x{FEFF})?(#EXTM3U|ffconcat version|\[playlist\]|<\?xml|<MPD|<smil|v=0|RTSP|DAAP|concat:)`)

func FuzzSniff(f *testing.F) {
	packet := func(size, skip int) []byte {
		return append(append(make([]byte, skip), 0x47), make([]byte, size-1-skip)...)
	}
	for _, seed := range [][]byte{
		nil, []byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"), []byte("\x00\x00\x00\x1cftypMSNV"), []byte("\x00\x00\x00\x14ftypqt  "),
		[]byte("\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1fB\x86\x81\x01B\x82\x84webm"), []byte("RIFF\x00\x00\x00\x00AVI LIST"), []byte("FLV\x01"), []byte("OggS"),
		[]byte("#EXTM3U\n#EXT-X-VERSION:3\n/etc/passwd\n"), []byte("ffconcat version 1.0\nfile /etc/passwd\n"), []byte("\xef\xbb\xbf#EXTM3U\n"), []byte("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n"),
		bytes.Repeat(packet(188, 0), 6), bytes.Repeat(packet(192, 4), 6), bytes.Repeat(packet(188, 0), 4),
		append([]byte("#EXTM3U\n"), bytes.Repeat(packet(188, 0), 6)...), bytes.Repeat([]byte{0x47}, 1000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		got := finalize.Sniff(head)
		if _, _, err := mime.ParseMediaType(got); err != nil {
			t.Errorf("%q is no media type: %v", got, err)
		}
		if again := finalize.Sniff(bytes.Clone(head)); again != got {
			t.Errorf("%q, and then %q", got, again)
		}
		demuxer, accepted := transcode.Demuxer(got)
		if accepted && namesFiles.Match(head) {
			t.Errorf("%.40q passes for %s", head, got)
		}
		if accepted && demuxer == "mpegts" && head[0] != 0x47 && head[4] != 0x47 {
			t.Errorf("%.40q passes for a transport stream", head)
		}
		if len(head) < 4000 {
			file := append([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"), head...)
			if got := finalize.Sniff(file); got != "video/mp4" {
				t.Errorf("an MP4 with %q behind its first box is %s", head, got)
			}
		}
	})
}
