package main_test

import (
	"fmt"
	"testing"
)

// longClip makes a video of so many seconds that cannot be copied, and costs little to encode.
func longClip(t *testing.T, seconds int) string {
	t.Helper()
	return clip(t, "long.mkv", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x240:rate=10:duration=%d", seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=duration=%d", seconds), "-c:v", "mpeg4", "-g", "20", "-c:a", "libvorbis")
}

// A video of ten minutes is encoded by several functions at once, and none runs into its timeout.
func TestFunctionsShareALongVideo(t *testing.T) {
	onEachFunctionHost(t, func(p place) {
		c := client{p.t, p.start("WORKER_CONCURRENCY=3").url}
		id := c.send(longClip(p.t, 600))
		c.await(id, "transcoded")
		c.wantPlays(id)
		if n := c.count(`pulsevault_function_init_seconds_count{function="transcode"}`); n < 3 {
			p.t.Errorf("%v processes of the function", n)
		}
		// The video itself, its sound, ten pieces, and joining them.
		if n := c.count(`pulsevault_function_invocations_total{function="transcode",result="success"}`); n < 13 {
			p.t.Errorf("%v invocations", n)
		}
		if n := c.count(`pulsevault_function_invocations_total{function="transcode",result="error"}`); n > 0 {
			p.t.Errorf("%v invocations failed", n)
		}
		wantTidy(p.t, p.kept)
	})
}

// A short video that comes later goes before the waiting pieces of a long one.
func TestShortVideosGoFirst(t *testing.T) {
	root := t.TempDir()
	c := client{t, start(t, "serve", root, "PIECE_SECONDS=6", "WORKER_CONCURRENCY=1").url}
	brief := shortClip(t) // made before, for it takes its time
	long := c.send(longClip(t, 240))
	comesTrue(func() bool { return c.count(`pulsevault_transcode_pieces_total{result="success"}`) > 0 })
	short := c.send(brief)
	c.await(short, "transcoded")
	if status := c.status(long); status != "transcoding" {
		t.Errorf("the long video is %s", status)
	}
	c.await(long, "transcoded")
	c.wantPlays(long)
	wantTidy(t, root)
}
