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

	"golang.org/x/sync/errgroup"

	"pulsevault/local/bench/rig"
	"pulsevault/pkg/audit"
)

const (
	logEntries   = 1_000_000
	reachVerify  = 10 * time.Second
	reachGrowth  = 16 << 20 // bytes that a hundred times the entries may take more of memory
	writersOfLog = 256      // what waits together is written together
)

// verified is what one verification took.
type verified struct {
	took   time.Duration
	cpu    time.Duration // of the processor
	memory int64         // bytes, at its peak; 0 where the system does not tell
}

// measureVerify has the command verify a log of a million entries, and one of a hundredth of that.
func measureVerify(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	small, large := filepath.Join(b.dir, "log of few"), filepath.Join(b.dir, "log of many")
	if err := errors.Join(writeLog(ctx, small, logEntries/100), writeLog(ctx, large, logEntries)); err != nil {
		return nil, err
	}
	var times, cpus, limits []time.Duration
	var few, many []int64
	for range b.rounds {
		limit, err := hashFolder(large)
		if err != nil {
			return nil, err
		}
		of, err := b.verify(ctx, large)
		if err != nil {
			return nil, err
		}
		ofFew, err := b.verify(ctx, small)
		if err != nil {
			return nil, err
		}
		limits, times, cpus = append(limits, limit), append(times, of.took), append(cpus, of.cpu)
		few, many = append(few, ofFew.memory), append(many, of.memory)
	}
	took, limit, least, most := rig.Median(times), rig.Median(limits), rig.Median(few), rig.Median(many)
	rows = append(rows, rig.Row{
		What: "audit verify of 1,000,000 entries", Measured: fmt.Sprintf("%.1f s, %.1f s of the processor", took.Seconds(), rig.Median(cpus).Seconds()), Limit: fmt.Sprintf("%.1f s to read and hash the files", limit.Seconds()),
		Ratio: fmt.Sprintf("%.2f", took.Seconds()/limit.Seconds()), Reach: fmt.Sprintf("≤ %.0f s", reachVerify.Seconds()), Verdict: rig.Verdict(took <= reachVerify),
	})
	if most > 0 {
		rows = append(rows, rig.Row{
			What: "memory of that", Measured: rig.SizeText(most), Limit: rig.SizeText(least) + " for 10,000", Ratio: fmt.Sprintf("%.2f", float64(most)/float64(least)),
			Reach: "≤ " + rig.SizeText(reachGrowth) + " more", Verdict: rig.Verdict(most-least <= reachGrowth),
		})
	}
	return rows, nil
}

// writeLog makes a log as a server that serves a segment for each entry does.
func writeLog(ctx context.Context, root string, entries int) error {
	log, err := audit.Open(audit.Config{Dir: filepath.Join(root, "audit")})
	if err != nil {
		return err
	}
	writers, ctx := errgroup.WithContext(ctx)
	for n := range writersOfLog {
		writers.Go(func() error {
			for i := n; i < entries; i += writersOfLog {
				err := log.Note(ctx, audit.Access, audit.Event{
					Action: "media.accessed", RequestID: "0190b2e0-7f1c-7cc3-98c4-dc0c0c073990", UserID: "front desk", Address: "192.0.2.1",
					VideoID: "0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f", Path: fmt.Sprintf("hls/720p_%03d.ts", i%1000), Details: map[string]any{"method": "GET", "keyId": "0badc0de"},
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return errors.Join(writers.Wait(), log.Close())
}

// verify runs the command as an operator does.
func (b *bench) verify(ctx context.Context, root string) (v verified, err error) {
	cmd := exec.CommandContext(ctx, b.binary, "audit", "verify")
	cmd.Dir = root // where there is no .env
	cmd.Env = append(rig.Inherited("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "TEMP"), "MEDIA_ROOT="+root)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return v, fmt.Errorf("verify a log: %w: %s", err, out)
	}
	return verified{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peakMemory(cmd.ProcessState)}, nil
}

// hashFolder is how long it takes to read the files of a log and compute their SHA-256.
func hashFolder(root string) (time.Duration, error) {
	paths, err := filepath.Glob(filepath.Join(root, "audit", "*.log"))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		if _, err := io.Copy(sha256.New(), f); err != nil {
			return 0, errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
