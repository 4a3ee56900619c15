package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"
)

type upgradeCommand struct {
	Settle   time.Duration `default:"5s" help:"How long everything runs undisturbed in between."`
	Services []string      `arg:"" optional:"" help:"Services to make anew; those of PulseVault and what they need, if none is named."`
}

// Run makes the containers of one service after another anew, as an upgrade does. What was acknowledged must be there at the end, and
// no play may fail that was over before a container was stopped, or began after the next one was healthy.
func (u upgradeCommand) Run(ctx context.Context, s *stack) error {
	if len(u.Services) == 0 {
		u.Services = []string{"redis", "pulsevault", "transcode-worker", "nginx"}
	}
	clip, err := s.clip(ctx)
	if err != nil {
		return err
	}
	l, p := &ledger{videos: map[string][sha256.Size]byte{}}, &plays{}
	watched, err := s.transcoded(ctx, clip, l)
	if err != nil {
		return err
	}
	outages, err := s.underLoad(ctx, u.Settle, clip, watched, l, p, u.Services, func(ctx context.Context, s *stack, service string) error {
		_, err := s.docker(ctx, "compose", "up", "--detach", "--wait", "--no-deps", "--no-build", "--force-recreate", service)
		return err
	})
	if err != nil {
		return err
	}
	err = errors.Join(report("made anew", outages, p), l.check(ctx, s))
	l.print()
	return err
}
