package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// usage is what a run of a program took.
type usage struct {
	wall, cpu time.Duration
	output    string // of both kinds
}

func runTool(ctx context.Context, program string, args ...string) (usage, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return usage{}, fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(out.Bytes()[max(0, out.Len()-1000):]))
	}
	return usage{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), out.String()}, nil
}

func ffmpeg(ctx context.Context, args ...string) (usage, error) {
	return runTool(ctx, "ffmpeg", append([]string{"-nostdin", "-hide_banner", "-y"}, args...)...)
}

// makeClip makes a moving picture with detail, edges and the noise of a camera, at about 9 Mbit/s, with sound. There is no
// more in it than the rungs have bits for: where they have not, no effort is as good as more effort.
func makeClip(ctx context.Context, path string, seconds int) error {
	_, err := ffmpeg(ctx, "-v", "error",
		"-f", "lavfi", "-i", "mandelbrot=s=640x360:r=30:start_scale=0.02:end_scale=0.002:end_pts=6000:maxiter=100:start_x=-0.743643887:start_y=0.131825904",
		"-f", "lavfi", "-i", "life=s=120x68:r=2:mold=20:ratio=0.2:seed=7:death_color=#1e3c5a:life_color=#d2b48c:mold_color=#507850",
		"-f", "lavfi", "-i", "testsrc2=s=480x270:r=30", "-f", "lavfi", "-i", "sine=frequency=330:beep_factor=4:sample_rate=48000",
		"-filter_complex", "[0:v]scale=1920:1080:flags=bicubic,gblur=sigma=3,format=yuv420p[b];"+
			"[1:v]scale=480:270:flags=bicubic,fps=30,format=yuv420p[l];[b][l]overlay=x='780+700*sin(t/2)':y='400+300*cos(t/3)'[c];"+
			"[2:v]scale=240:136,format=yuv420p[t];[c][t]overlay=x='60+mod(90*t,1400)':y=760,noise=c0s=2:c0f=t:all_seed=1[v]",
		"-map", "[v]", "-map", "3:a", "-t", strconv.Itoa(seconds), "-c:v", "libx264", "-preset", "veryfast", "-b:v", "9M",
		"-maxrate", "12M", "-bufsize", "9M", "-g", "60", "-bf", "0", "-c:a", "aac", "-b:a", "128k", path)
	return err
}

// repeat makes a longer video of the clip's picture without encoding it again, with a sound as long. Picture is repeated
// alone: a sound that ends a little later would leave a gap each time, and such a video cannot be copied.
func (b *bench) repeat(ctx context.Context, seconds int) (string, error) {
	picture, path := filepath.Join(b.dir, "picture.mp4"), filepath.Join(b.dir, fmt.Sprintf("%ds.mp4", seconds))
	if _, err := ffmpeg(ctx, "-v", "error", "-i", b.clip, "-map", "0:v:0", "-c", "copy", picture); err != nil {
		return "", err
	}
	_, err := ffmpeg(ctx, "-v", "error", "-stream_loop", "-1", "-i", picture, "-f", "lavfi", "-i", "sine=sample_rate=48000",
		"-map", "0:v", "-map", "1:a", "-t", strconv.Itoa(seconds), "-c:v", "copy", "-c:a", "aac", "-b:a", "128k", path)
	return path, err
}

// bitRate is that of the picture of a file, in bits per second.
func bitRate(ctx context.Context, path string) (float64, error) {
	u, err := runTool(ctx, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=size:stream=avg_frame_rate",
		"-of", "default=nokey=1:noprint_wrappers=1", path)
	if err != nil {
		return 0, err
	}
	var bits, packets float64
	rate := 0.0
	for _, line := range strings.Fields(u.output) {
		if over, under, ok := strings.Cut(line, "/"); ok {
			n, _ := strconv.ParseFloat(over, 64)
			d, _ := strconv.ParseFloat(under, 64)
			rate = n / d
		} else if size, err := strconv.ParseFloat(line, 64); err == nil {
			bits, packets = bits+8*size, packets+1
		}
	}
	if packets == 0 || !(rate > 0) {
		return 0, fmt.Errorf("ffprobe tells no packets of %s: %q", filepath.Base(path), u.output[:min(len(u.output), 200)])
	}
	return bits / packets * rate, nil
}

var ssimForm = regexp.MustCompile(`SSIM .*All:([0-9.]+) \(`)

// ssim is the likeness of a rendition to the source, scaled bicubically to its size; 1 is the same. Pictures are compared by
// their number, since containers begin at different times.
func (b *bench) ssim(ctx context.Context, path string, width, height int) (float64, error) {
	u, err := ffmpeg(ctx, "-v", "info", "-nostats", "-i", path, "-i", b.clip, "-filter_complex",
		fmt.Sprintf("[0:v]settb=1/30,setpts=N,setsar=1[x];[1:v]scale=%d:%d:flags=bicubic,format=yuv420p,settb=1/30,setpts=N,setsar=1[y];[x][y]ssim",
			width, height), "-an", "-f", "null", "-")
	if err != nil {
		return 0, err
	}
	m := ssimForm.FindStringSubmatch(u.output)
	if m == nil {
		return 0, fmt.Errorf("ffmpeg told no SSIM of %s", filepath.Base(path))
	}
	return strconv.ParseFloat(m[1], 64)
}
