package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"pulsevault/local/bench/rig"
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
func measureUpload(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	s, err := b.startServer(ctx, "upload")
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	c := &rig.Client{Base: s.URL}
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
		fmt.Printf("round %d: upload %s, dd %s, finalize %s and %s\n", n+1, rig.RateText(rig.Rate(b.size, t.upload)),
			rig.RateText(rig.Rate(b.size, t.dd)), rig.MsText(t.finalize), rig.MsText(t.finalizeSmall))
		uploads, dds = append(uploads, t.upload), append(dds, t.dd)
		finalizes, smalls = append(finalizes, t.finalize), append(smalls, t.finalizeSmall)
	}
	rows, err = b.uploadRows(ctx, rig.Rate(b.size, rig.Median(uploads)), rig.Rate(b.size, rig.Median(dds)))
	return append(rows, b.finalizeRows(rig.Median(finalizes), rig.Median(smalls), syncTime)...), err
}

func (b *bench) uploadRound(ctx context.Context, c *rig.Client, ddFirst bool) (t uploadTimes, err error) {
	if ddFirst {
		if t.dd, err = b.plainCopy(ctx); err != nil {
			return t, err
		}
	}
	u, took, err := c.Upload(ctx, b.body, b.size)
	if err != nil {
		return t, err
	}
	t.upload = took
	if _, t.finalize, err = c.Finalize(ctx, u); err != nil {
		return t, err
	}
	if u, _, err = c.Upload(ctx, b.small, smallSize); err != nil {
		return t, err
	}
	if _, t.finalizeSmall, err = c.Finalize(ctx, u); err != nil {
		return t, err
	}
	if !ddFirst {
		t.dd, err = b.plainCopy(ctx)
	}
	return t, err
}

func (b *bench) uploadRows(ctx context.Context, upload, dd float64) ([]rig.Row, error) {
	what := "upload of " + rig.SizeText(b.size) + " in one PATCH"
	ratio := upload / dd
	rows := []rig.Row{{What: what, Measured: rig.RateText(upload), Limit: rig.RateText(dd) + " dd, fdatasync", Ratio: fmt.Sprintf("%.2f", ratio),
		Reach: fmt.Sprintf("≥ %.2f", reachUpload), Verdict: rig.Verdict(ratio >= reachUpload)}}
	hash := hashRate()
	rows = append(rows, rig.Row{What: what, Measured: rig.RateText(upload), Limit: rig.RateText(hash) + " SHA-256 in Go",
		Ratio: fmt.Sprintf("%.2f", upload/hash)})
	took, tool, err := b.hashTool(ctx)
	if err != nil {
		return rows, err
	}
	return append(rows, rig.Row{What: what, Measured: rig.RateText(upload), Limit: rig.RateText(rig.Rate(b.size, took)) + " " + tool,
		Ratio: fmt.Sprintf("%.2f", upload/rig.Rate(b.size, took))}), nil
}

func (b *bench) finalizeRows(large, small, syncTime time.Duration) []rig.Row {
	limit := rig.MsText(syncTime) + " a synced 4 KiB write"
	reach := "≤ " + rig.MsText(reachFinalize)
	times := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(syncTime)) }
	// Equal: no further apart than a slow sync makes two calls of the same kind.
	equal := large-small <= max(small/2, 10*time.Millisecond)
	return []rig.Row{
		{What: "finalize of " + rig.SizeText(b.size), Measured: rig.MsText(large), Limit: limit, Ratio: times(large), Reach: reach,
			Verdict: rig.Verdict(large <= reachFinalize)},
		{What: "finalize of 1 MB", Measured: rig.MsText(small), Limit: limit, Ratio: times(small), Reach: reach,
			Verdict: rig.Verdict(small <= reachFinalize)},
		{What: "finalize, large beside small", Measured: rig.MsText(large), Limit: rig.MsText(small),
			Ratio: fmt.Sprintf("%.2f", float64(large)/float64(small)), Reach: "the same", Verdict: rig.Verdict(equal)},
	}
}

// measureMemory starts a server of its own, because the high-water mark never falls.
func measureMemory(ctx context.Context, b *bench) ([]rig.Row, error) {
	if err := os.RemoveAll(b.dir + "/upload"); err != nil { // what the measurement before it stored
		return nil, err
	}
	s, err := b.startServer(ctx, "memory")
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	idle, err := s.PeakMemory()
	if err != nil {
		return nil, err
	}
	c := &rig.Client{Base: s.URL}
	errs := make(chan error)
	for range b.concurrent {
		go func() {
			_, _, err := c.Upload(ctx, b.body, b.size)
			errs <- err
		}()
	}
	for range b.concurrent {
		if uploadErr := <-errs; err == nil {
			err = uploadErr
		}
	}
	if err != nil {
		return nil, s.Explain(err)
	}
	peak, err := s.PeakMemory()
	if err != nil {
		return nil, err
	}
	return []rig.Row{{What: fmt.Sprintf("memory under %d uploads of %s", b.concurrent, rig.SizeText(b.size)), Measured: rig.SizeText(peak),
		Limit: rig.SizeText(idle) + " idle", Ratio: fmt.Sprintf("%.2f", float64(peak)/float64(idle)), Reach: "≤ " + rig.SizeText(reachMemory),
		Verdict: rig.Verdict(peak <= reachMemory)}}, nil
}
