// Command benchtranscode measures a PulseVault's transcoder beside plain ffmpeg commands in one run, and says which figures
// of docs/design.md are reached. It starts bin/pulsevault itself. Only ratios tell something where others use the machine.
//
//	make bench-transcode
//	make bench-transcode BENCHFLAGS="-only ladder -clip consultation.mp4"
//	make bench-transcode BENCHFLAGS="-seconds 4 -short 12 -long 24 -whole 24 -piece 12"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"pulsevault/local/bench/rig"
)

// bench is what every measurement is handed.
type bench struct {
	binary                    string // the server's
	dir                       string // removed at the end
	clip                      string // of 1080p H.264
	seconds                   int    // of the clip, if it is to be made
	short, long, whole, piece int    // seconds
	served                    int    // servers started so far
}

// measurements run in this order; each tells its rows.
var measurements = rig.Measurements[*bench]{
	{Name: "first", Run: measureFirst},
	{Name: "ladder", Run: measureLadder}, // and memory
	{Name: "pieces", Run: measurePieces}, // and two workers
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-transcode:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	b := &bench{}
	flags := flag.NewFlagSet("bench-transcode", flag.ContinueOnError)
	flags.StringVar(&b.binary, "server", "bin/pulsevault", "the server's `program`")
	flags.StringVar(&b.clip, "clip", "", "a `file` of 1080p H.264 in place of a made one")
	flags.IntVar(&b.seconds, "seconds", 20, "length of the clip that is made")
	flags.IntVar(&b.short, "short", 60, "seconds of the shorter video whose first picture is waited for")
	flags.IntVar(&b.long, "long", 600, "seconds of the longer one")
	flags.IntVar(&b.whole, "whole", 120, "seconds of the video that is encoded in pieces")
	flags.IntVar(&b.piece, "piece", 30, "seconds of a piece of it")
	only := flags.String("only", "", "measure these only: "+measurements.Names())
	limit := flags.Duration("timeout", time.Hour, "give up after this long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if min(b.seconds, b.short, b.long, b.whole, b.piece) < 1 {
		return errors.New("all lengths are at least 1 second")
	}
	if err := measurements.Check(*only); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	defer func() {
		if b.dir != "" {
			err = errors.Join(err, os.RemoveAll(b.dir))
		}
	}()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	return measurements.Run(ctx, b, *only)
}

// prepare makes the folder and the clip.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if _, err := os.Stat(b.binary); err != nil {
		return fmt.Errorf("there is no server to measure (make build): %w", err)
	}
	if b.dir, err = os.MkdirTemp(os.Getenv("BENCH_DIR"), "pulsevault-bench-"); err != nil {
		return err
	}
	fmt.Printf("%s on %s/%s, %d CPUs; %s\n", filepath.Base(b.binary), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.dir)
	if b.clip == "" {
		b.clip = filepath.Join(b.dir, "clip.mp4")
		return makeClip(ctx, b.clip, b.seconds)
	}
	b.clip, err = filepath.Abs(b.clip)
	return err
}
