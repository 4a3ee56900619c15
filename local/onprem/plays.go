package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

type playsCommand struct {
	PerMinute int           `default:"2000" help:"How many plays are begun in a minute."`
	For       time.Duration `default:"1m" help:"For how long."`
}

// Run begins plays by the clock, whether those before are over or not, so that a slow answer does not hide behind a late question.
// Each counts from when it was due. One that fails is an error.
func (c playsCommand) Run(ctx context.Context, s *stack) error {
	clip, err := s.clip(ctx)
	if err != nil {
		return err
	}
	video, err := s.transcoded(ctx, clip, &ledger{videos: map[string][sha256.Size]byte{}})
	if err != nil {
		return err
	}
	interval := time.Minute / time.Duration(c.PerMinute)
	p := &plays{}
	var running sync.WaitGroup
	start := time.Now()
	var due []time.Time
	for at := start; at.Before(start.Add(c.For)); at = at.Add(interval) {
		if err := pause(ctx, time.Until(at)); err != nil {
			return err
		}
		due = append(due, at)
		running.Go(func() { p.begin(ctx, s, video, at) })
	}
	running.Wait()
	return p.print(len(due), c.For)
}

func (p *plays) print(n int, span time.Duration) error {
	var took []time.Duration
	var err error
	cache := map[string]int{}
	failed := 0
	for _, one := range p.list {
		if one.err != nil {
			failed++
			err = one.err
			continue
		}
		took = append(took, one.over.Sub(one.begun))
		cache[one.cache]++
	}
	if len(took) == 0 {
		return fmt.Errorf("none of %d plays succeeded: %w", n, err)
	}
	slices.Sort(took)
	at := func(part float64) time.Duration {
		return took[int(part*float64(len(took)-1))].Round(100 * time.Microsecond)
	}
	fmt.Printf("%d plays in %v (link, master, variant, segment: %d requests), %d failed\n", n, span, 4*n, failed)
	fmt.Printf("a play took: p50 %v, p95 %v, p99 %v, at most %v; segments: %v\n", at(0.5), at(0.95), at(0.99), at(1), cache)
	if failed > 0 {
		return errors.Join(fmt.Errorf("%d of %d plays failed", failed, n), err)
	}
	return nil
}

// play does what a player does to begin: it has a link signed, reads the master playlist, one of a variant, and a segment. It tries
// nothing twice. Returned is what X-Cache-Status says of the segment.
func (s *stack) play(ctx context.Context, video string) (cache string, err error) {
	at, err := s.Link(ctx, video, "hls/master.m3u8")
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	for _, what := range []string{"master playlist", "variant playlist"} {
		if at, err = s.Follow(ctx, at); err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
	}
	segment, err := s.Get(ctx, at)
	if err != nil {
		return "", fmt.Errorf("segment: %w", err)
	}
	if len(segment.Body) == 0 || segment.Body[0] != 0x47 {
		return "", errors.New("segment: it is no MPEG transport stream")
	}
	return segment.Header.Get("X-Cache-Status"), nil
}
