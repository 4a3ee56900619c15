package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// What is to be reached: section "Figures" of docs/design.md.
const (
	reachUpload   = 0.85 // of dd
	reachFinalize = 50 * time.Millisecond
	reachMemory   = 64 << 20
)

// uploadTimes are those of one round.
type uploadTimes struct{ upload, dd, finalize, finalizeSmall time.Duration }

// measureUpload takes turns, so that a disk that grows slower with time does so for both.
func measureUpload(ctx context.Context, b *bench) (rows []row, err error) {
	s, err := b.startServer(ctx, "upload")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	c := &client{base: s.url}
	syncTime, err := b.syncTime()
	if err != nil {
		return nil, err
	}
	if syncTime < 20*time.Microsecond {
		fmt.Printf("a synced write takes %v: %s is in memory, not on a disk; BENCH_DIR names another folder\n", syncTime, b.dir)
	}
	if _, err := b.plainCopy(ctx); err != nil { // the first one finds everything cold
		return nil, err
	}
	var uploads, dds, finalizes, smalls []time.Duration
	for n := range b.rounds {
		t, err := b.uploadRound(ctx, c, n%2 == 0)
		if err != nil {
			return nil, err
		}
		fmt.Printf("round %d: upload %s, dd %s, finalize %s and %s\n", n+1, rateText(rate(b.size, t.upload)),
			rateText(rate(b.size, t.dd)), msText(t.finalize), msText(t.finalizeSmall))
		uploads, dds = append(uploads, t.upload), append(dds, t.dd)
		finalizes, smalls = append(finalizes, t.finalize), append(smalls, t.finalizeSmall)
	}
	rows, err = b.uploadRows(ctx, rate(b.size, median(uploads)), rate(b.size, median(dds)))
	return append(rows, b.finalizeRows(median(finalizes), median(smalls), syncTime)...), err
}

func (b *bench) uploadRound(ctx context.Context, c *client, ddFirst bool) (t uploadTimes, err error) {
	if ddFirst {
		if t.dd, err = b.plainCopy(ctx); err != nil {
			return t, err
		}
	}
	u, took, err := c.upload(ctx, b.body, b.size)
	if err != nil {
		return t, err
	}
	t.upload = took
	if _, t.finalize, err = c.finalize(ctx, u); err != nil {
		return t, err
	}
	if u, _, err = c.upload(ctx, b.small, smallSize); err != nil {
		return t, err
	}
	if _, t.finalizeSmall, err = c.finalize(ctx, u); err != nil {
		return t, err
	}
	if !ddFirst {
		t.dd, err = b.plainCopy(ctx)
	}
	return t, err
}

func (b *bench) uploadRows(ctx context.Context, upload, dd float64) ([]row, error) {
	what := "upload of " + sizeText(b.size) + " in one PATCH"
	ratio := upload / dd
	rows := []row{{what, rateText(upload), rateText(dd) + " dd, fdatasync", fmt.Sprintf("%.2f", ratio),
		fmt.Sprintf("≥ %.2f", reachUpload), verdict(ratio >= reachUpload)}}
	hash := hashRate()
	rows = append(rows, row{what: what, measured: rateText(upload), limit: rateText(hash) + " SHA-256 in Go",
		ratio: fmt.Sprintf("%.2f", upload/hash)})
	took, tool, err := b.hashTool(ctx)
	if err != nil {
		return rows, err
	}
	return append(rows, row{what: what, measured: rateText(upload), limit: rateText(rate(b.size, took)) + " " + tool,
		ratio: fmt.Sprintf("%.2f", upload/rate(b.size, took))}), nil
}

func (b *bench) finalizeRows(large, small, syncTime time.Duration) []row {
	limit := msText(syncTime) + " a synced 4 KiB write"
	reach := "≤ " + msText(reachFinalize)
	times := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(syncTime)) }
	// Equal: no further apart than a slow sync makes two calls of the same kind.
	equal := large-small <= max(small/2, 10*time.Millisecond)
	return []row{
		{"finalize of " + sizeText(b.size), msText(large), limit, times(large), reach, verdict(large <= reachFinalize)},
		{"finalize of 1 MB", msText(small), limit, times(small), reach, verdict(small <= reachFinalize)},
		{"finalize, large beside small", msText(large), msText(small), fmt.Sprintf("%.2f", float64(large)/float64(small)),
			"the same", verdict(equal)},
	}
}

// measureMemory starts a server of its own, because the high-water mark never falls.
func measureMemory(ctx context.Context, b *bench) ([]row, error) {
	if err := os.RemoveAll(b.dir + "/upload"); err != nil { // what the measurement before it stored
		return nil, err
	}
	s, err := b.startServer(ctx, "memory")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	idle, err := s.peakMemory()
	if err != nil {
		return nil, err
	}
	c := &client{base: s.url}
	errs := make(chan error)
	for range b.concurrent {
		go func() {
			_, _, err := c.upload(ctx, b.body, b.size)
			errs <- err
		}()
	}
	for range b.concurrent {
		if uploadErr := <-errs; err == nil {
			err = uploadErr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w; the server said: %s", err, s.output)
	}
	peak, err := s.peakMemory()
	if err != nil {
		return nil, err
	}
	return []row{{fmt.Sprintf("memory under %d uploads of %s", b.concurrent, sizeText(b.size)), sizeText(peak),
		sizeText(idle) + " idle", fmt.Sprintf("%.2f", float64(peak)/float64(idle)), "≤ " + sizeText(reachMemory),
		verdict(peak <= reachMemory)}}, nil
}
