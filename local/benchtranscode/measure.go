package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"pulsevault/local/bench/rig"
	"pulsevault/pkg/transcode"
)

// What is to be reached: section "Figures" of docs/design.md.
const (
	reachFirstShort = time.Second
	reachFirstLong  = 3 * time.Second
	reachLadder     = 1.0 / 3 // of five encodes, in processor time
	reachSplit      = 1.05    // of unsplit, in processor time
	reachMemory     = 600_000_000
)

func secondsText(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func ratioText(a, b time.Duration) string { return fmt.Sprintf("%.2f", float64(a)/float64(b)) }

// measureFirst waits for the first picture, beside a plain remux of the same file that is as safe on disk.
func measureFirst(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	for _, v := range []struct {
		seconds int
		reach   time.Duration
	}{{b.short, reachFirstShort}, {b.long, reachFirstLong}} {
		file, err := b.repeat(ctx, v.seconds)
		if err != nil {
			return rows, err
		}
		plain, err := b.plainCopy(ctx, file)
		if err != nil {
			return rows, err
		}
		one, err := b.serve(ctx, file, false)
		if err != nil {
			return rows, err
		}
		rows = append(rows, rig.Row{What: fmt.Sprintf("first picture after finalize, %d s", v.seconds), Measured: secondsText(one.first),
			Limit: secondsText(plain) + " ffmpeg -c copy -f hls, synced", Ratio: ratioText(one.first, plain), Reach: "≤ " + secondsText(v.reach),
			Verdict: rig.Verdict(one.first <= v.reach)})
		if err := errors.Join(os.Remove(file), os.RemoveAll(filepath.Dir(filepath.Dir(filepath.Dir(one.hls))))); err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// plainCopy has ffmpeg cut a file into HLS, and brings that to disk: nothing may be played before that could be gone after a
// power failure.
func (b *bench) plainCopy(ctx context.Context, file string) (took time.Duration, err error) {
	to := filepath.Join(b.dir, "copy")
	if err := os.Mkdir(to, 0o750); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(to)) }()
	began := time.Now()
	if _, err := ffmpeg(ctx, "-v", "error", "-i", file, "-c", "copy", "-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod",
		filepath.Join(to, "all.m3u8")); err != nil {
		return 0, err
	}
	made, err := filepath.Glob(filepath.Join(to, "*"))
	for _, path := range made {
		err = errors.Join(err, syncFile(path))
	}
	return time.Since(began), err
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// measureLadder makes the ladder of the clip, beside one plain encode for each rung.
func measureLadder(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	one, err := b.serve(ctx, b.clip, true, "PIECE_SECONDS=3600")
	if err != nil {
		return nil, err
	}
	var plain time.Duration
	for _, r := range transcode.Ladder() {
		took, row, err := b.compareRung(ctx, one, r)
		if err != nil {
			return rows, err
		}
		plain, rows = plain+took, append(rows, row)
	}
	rows = append(rows, rig.Row{What: "whole ladder, processor time", Measured: secondsText(one.cpu), Limit: secondsText(plain) + " five encodes",
		Ratio: ratioText(one.cpu, plain), Reach: fmt.Sprintf("≤ %.2f", reachLadder), Verdict: rig.Verdict(float64(one.cpu) <= reachLadder*float64(plain))})
	if one.memory == 0 {
		return append(rows, rig.Row{What: "memory of server and ffmpeg", Measured: "not measured on this system"}), nil
	}
	return append(rows, rig.Row{What: "memory of server and ffmpeg", Measured: rig.SizeText(one.memory), Reach: "≤ " + rig.SizeText(reachMemory),
		Verdict: rig.Verdict(one.memory <= reachMemory)}), nil
}

// compareRung encodes one rung plainly, and compares the two by SSIM. An encode that exceeds the rung's bit rate would be no
// comparison: it is done again under the bounds that ours has, and only that counts.
func (b *bench) compareRung(ctx context.Context, one served, r transcode.Rung) (took time.Duration, row rig.Row, err error) {
	width, file, note := 2*((r.ShortSide*16/9+1)/2), filepath.Join(b.dir, "plain.mp4"), ""
	encode := func(bounds ...string) (rate float64, err error) {
		args := append([]string{"-v", "error", "-i", b.clip, "-vf", fmt.Sprintf("scale=%d:%d", width, r.ShortSide), "-c:v", "libx264",
			"-preset", "medium", "-crf", "23", "-c:a", "aac", "-ac", "2", "-ar", "48000", "-b:a", strconv.Itoa(r.AudioBitRate)}, bounds...)
		u, err := ffmpeg(ctx, append(args, file)...)
		if err != nil {
			return 0, err
		}
		took = u.cpu
		return bitRate(ctx, file)
	}
	rate, err := encode()
	if err == nil && rate > float64(r.VideoBitRate) {
		most, buffer := transcode.RateBound(r.VideoBitRate)
		note = ", bounded as ours"
		rate, err = encode("-maxrate", strconv.Itoa(most), "-bufsize", strconv.Itoa(buffer))
	}
	if err != nil {
		return 0, row, err
	}
	plain, err := b.ssim(ctx, file, width, r.ShortSide)
	if err != nil {
		return 0, row, err
	}
	ours, err := filepath.Glob(filepath.Join(one.hls, r.Name+"*.m3u8"))
	if err != nil || len(ours) != 1 {
		return 0, row, fmt.Errorf("there is not one playlist of %s but %d: the clip must be 1080p (%w)", r.Name, len(ours), err)
	}
	ourRate, err := bitRate(ctx, ours[0])
	if err != nil {
		return 0, row, err
	}
	likeness, err := b.ssim(ctx, ours[0], width, r.ShortSide)
	return took, rig.Row{What: r.Name + ": SSIM at its bit rate", Measured: fmt.Sprintf("%.4f at %.0fk", likeness, ourRate/1000),
		Limit: fmt.Sprintf("%.4f at %.0fk -preset medium -crf 23%s", plain, rate/1000, note), Ratio: fmt.Sprintf("%.4f", likeness/plain),
		Reach: fmt.Sprintf("≥ 1, ≤ %dk", r.VideoBitRate/1000), Verdict: rig.Verdict(likeness >= plain && ourRate <= float64(r.VideoBitRate))}, err
}

// measurePieces encodes one video whole, in pieces, and in pieces by two workers.
func measurePieces(ctx context.Context, b *bench) ([]rig.Row, error) {
	file, err := b.repeat(ctx, b.whole)
	if err != nil {
		return nil, err
	}
	pieces := fmt.Sprintf("PIECE_SECONDS=%d", b.piece)
	whole, err := b.serve(ctx, file, true, "PIECE_SECONDS=3600", "WORKER_CONCURRENCY=1")
	if err != nil {
		return nil, err
	}
	split, err := b.serve(ctx, file, true, pieces, "WORKER_CONCURRENCY=1")
	if err != nil {
		return nil, err
	}
	two, err := b.serve(ctx, file, true, pieces, "WORKER_CONCURRENCY=2")
	if err != nil {
		return nil, err
	}
	return []rig.Row{
		{What: fmt.Sprintf("%d s in pieces of %d s, processor time", b.whole, b.piece), Measured: secondsText(split.cpu),
			Limit: secondsText(whole.cpu) + " in one piece", Ratio: ratioText(split.cpu, whole.cpu), Reach: fmt.Sprintf("≤ %.2f", reachSplit),
			Verdict: rig.Verdict(float64(split.cpu) <= reachSplit*float64(whole.cpu))},
		{What: "two workers, wall time", Measured: secondsText(two.done), Limit: secondsText(split.done) + " one worker",
			Ratio: ratioText(two.done, split.done)},
	}, nil
}
