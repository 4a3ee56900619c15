package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pulsevault/local/bench/rig"
)

// The plain limits of this machine: what the disk and the processor do without a server in between.

// plainCopy copies the body with dd, synced, as the upload leaves it, and returns how long it took. Where dd knows no
// fdatasync (macOS before 13) it copies by itself.
func (b *bench) plainCopy(ctx context.Context) (time.Duration, error) {
	to := filepath.Join(b.dir, "dd")
	defer func() { _ = os.Remove(to) }()
	start := time.Now()
	err := exec.CommandContext(ctx, "dd", "if="+b.body, "of="+to, "bs=1048576", "conv=fdatasync").Run()
	took := time.Since(start)
	if err == nil {
		return took, nil
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	start = time.Now()
	err = copySynced(b.body, to)
	return time.Since(start), err
}

func copySynced(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 1<<20))
	return errors.Join(err, out.Sync(), out.Close())
}

// hashRate is how fast one core computes SHA-256 in a Go program, in MiB a second.
func hashRate() float64 {
	buf, h := make([]byte, 1<<20), sha256.New()
	var n int64
	start := time.Now()
	for time.Since(start) < time.Second {
		h.Write(buf)
		n += int64(len(buf))
	}
	return rig.Rate(n, time.Since(start))
}

// hashTool is how long sha256sum takes over the body, and what it is called here.
func (b *bench) hashTool(ctx context.Context) (time.Duration, string, error) {
	for _, tool := range [][]string{{"sha256sum"}, {"shasum", "-a", "256"}} {
		if _, err := exec.LookPath(tool[0]); err != nil {
			continue
		}
		start := time.Now()
		err := exec.CommandContext(ctx, tool[0], append(tool[1:], b.body)...).Run()
		return time.Since(start), tool[0], err
	}
	return 0, "", errors.New("neither sha256sum nor shasum is installed")
}

// syncTime is the median time of a 4 KiB write that is made to reach the disk.
func (b *bench) syncTime() (_ time.Duration, err error) {
	f, err := os.Create(filepath.Join(b.dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var took []time.Duration
	for range 50 {
		start := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		if err := fdatasync(f); err != nil {
			return 0, fmt.Errorf("sync: %w", err)
		}
		took = append(took, time.Since(start))
	}
	return rig.Median(took), nil
}
