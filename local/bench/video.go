package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pulsevault/local/bench/rig"
)

// smallSize is what a short clip has.
const smallSize = 1_000_000

// makeVideos writes a video of exactly so many bytes to each path: a real short MP4, then a box of type "free" that holds
// bytes which no file system can compress or share.
func makeVideos(ctx context.Context, dir string, sizes map[string]int64) error {
	path := filepath.Join(dir, "clip.mp4")
	out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "lavfi",
		"-i", "mandelbrot=size=320x240:rate=30", "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
		path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make a clip with ffmpeg: %w: %s", err, strings.TrimSpace(string(out)))
	}
	clip, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for path, size := range sizes {
		if err := writePadded(path, clip, size); err != nil {
			return fmt.Errorf("write a video of %s: %w", rig.SizeText(size), err)
		}
	}
	return nil
}

func writePadded(path string, clip []byte, size int64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}()
	box := freeBox(size - int64(len(clip)))
	rest := size - int64(len(clip)+len(box))
	if rest < 0 {
		return fmt.Errorf("the clip itself has %d bytes", len(clip))
	}
	if _, err := f.Write(append(clip[:len(clip):len(clip)], box...)); err != nil {
		return err
	}
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{}), rest); err != nil {
		return err
	}
	return f.Sync() // or the kernel would still be writing it while others are measured
}

// freeBox is the header of an MP4 box of type "free" that has size bytes in all.
func freeBox(size int64) []byte {
	if size < 1<<32 {
		return append(binary.BigEndian.AppendUint32(nil, uint32(size)), "free"...)
	}
	header := append(binary.BigEndian.AppendUint32(nil, 1), "free"...) // 1: the size stands behind the type
	return binary.BigEndian.AppendUint64(header, uint64(size))
}
