// Command bench measures a PulseVault server beside the plain limits of the machine and file system it stands on, in one
// run, and says which figures of docs/design.md are reached. It starts bin/pulsevault itself, without a transcoder.
//
//	make bench
//	make bench BENCHFLAGS="-size 4GiB -rounds 5 -only upload"
//	BENCH_DIR=/srv/disk make bench
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
	"strconv"
	"syscall"
	"time"

	"pulsevault/local/bench/rig"
)

// bench is what every measurement is handed.
type bench struct {
	binary     string // the server's
	dir        string // on the file system to measure; removed at the end
	size       int64
	rounds     int
	concurrent int
	body       string // a video of size bytes, in the page cache
	small      string // one of 1 MB
}

// measurements run in this order; each tells its rows.
var measurements = rig.Measurements[*bench]{
	{Name: "upload", Run: measureUpload}, // and finalize, which needs an upload
	{Name: "memory", Run: measureMemory},
	{Name: "stream", Run: measureStream}, // and sign
	{Name: "front", Run: measureFront},   // the same behind nginx
	{Name: "auth", Run: measureAuth},     // against the same without
	{Name: "verify", Run: measureVerify}, // the audit log
	{Name: "functions", Run: measureFunctions},
}

func main() {
	if dir := os.Getenv(bareDir); dir != "" {
		fmt.Fprintln(os.Stderr, "bench:", serveBare(dir, os.Getenv(bareHost)))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	b := &bench{size: 1 << 30}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&b.binary, "server", "bin/pulsevault", "the server's `program`")
	flags.Func("size", "`bytes` of the large video, such as 256MiB (default 1GiB)", func(s string) (err error) {
		b.size, err = rig.ParseSize(s)
		return err
	})
	flags.IntVar(&b.rounds, "rounds", 5, "how often each is measured; the median counts")
	flags.IntVar(&b.concurrent, "concurrent", 8, "uploads at once when memory is measured")
	only := flags.String("only", "", "measure these only: "+measurements.Names())
	limit := flags.Duration("timeout", 20*time.Minute, "give up after this long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if b.rounds < 1 || b.concurrent < 1 || b.size < 4*smallSize {
		return fmt.Errorf("-rounds and -concurrent are at least 1, -size is at least %d", 4*smallSize)
	}
	if err := measurements.Check(*only); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()

	if err := b.prepare(ctx); err != nil {
		return errors.Join(err, b.cleanUp())
	}
	err := measurements.Run(ctx, b, *only)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("not done after %v (-timeout): %w", *limit, err)
	case ctx.Err() != nil:
		err = errors.New("interrupted")
	}
	return errors.Join(err, b.cleanUp())
}

// prepare makes the folder and the videos to send.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if _, err := os.Stat(b.binary); err != nil {
		return fmt.Errorf("there is no server to measure (make build): %w", err)
	}
	parent := os.Getenv("BENCH_DIR")
	if parent == "" {
		parent = os.TempDir()
	}
	if b.dir, err = os.MkdirTemp(parent, "pulsevault-bench-"); err != nil {
		return err
	}
	fmt.Printf("%s on %s/%s, %d CPUs; %s (up to %s are used there for a while)\n", filepath.Base(b.binary), runtime.GOOS,
		runtime.GOARCH, runtime.NumCPU(), b.dir, rig.SizeText(b.size*int64(max(b.rounds+2, b.concurrent+1))))
	b.body, b.small = filepath.Join(b.dir, "large.mp4"), filepath.Join(b.dir, "small.mp4")
	return makeVideos(ctx, b.dir, map[string]int64{b.body: b.size, b.small: smallSize})
}

// startServer starts a server without a transcoder in a folder of its own.
func (b *bench) startServer(ctx context.Context, name string, settings ...string) (*rig.Server, error) {
	return rig.Start(ctx, b.binary, filepath.Join(b.dir, name), append(settings, "WORKER_CONCURRENCY=0", "LOG_LEVEL=warn",
		"MAX_UPLOAD_SIZE="+strconv.FormatInt(max(b.size, 10<<30), 10))...)
}

func (b *bench) cleanUp() error {
	if b.dir == "" {
		return nil
	}
	return os.RemoveAll(b.dir)
}
