package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type backupCommand struct {
	Folder string        `arg:"" help:"Where to, a folder that the user of the containers may write to." type:"existingdir"`
	Settle time.Duration `default:"5s" help:"How long everything runs before and after it."`
}

// Run takes a backup as operations.md tells. Every video that was there when it began must be in it, no play may fail, and nothing that
// is acknowledged meanwhile may be lost.
func (b backupCommand) Run(ctx context.Context, s *stack) error {
	folder, err := filepath.Abs(b.Folder)
	if err != nil {
		return err
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
	inBackup := func(ctx context.Context, args ...string) (string, error) {
		return s.docker(ctx, append([]string{"compose", "run", "--rm", "--no-deps", "-T", "--volume", folder + ":/backup"}, args...)...)
	}
	var before []string
	outages, err := s.underLoad(ctx, b.Settle, clip, watched, l, p, []string{"backup"}, func(ctx context.Context, _ *stack, _ string) error {
		l.add(func() { before = slices.Collect(maps.Keys(l.videos)) })
		said, err := inBackup(ctx, "transcode-worker", "backup", "/backup")
		fmt.Print(said)
		return err
	})
	if err != nil {
		return err
	}
	manifest, err := inBackup(ctx, "--entrypoint", "sh", "transcode-worker", "-c", "cat /backup/2*/manifest")
	for _, video := range before {
		if !strings.Contains(manifest, "videos/"+video+"/original.mp4") {
			err = errors.Join(err, fmt.Errorf("video %s was there before the backup, and is not in it", video))
		}
	}
	fmt.Printf("%d videos were there when it began\n", len(before))
	err = errors.Join(err, report("taken", outages, p), p.wantNone(), l.check(ctx, s))
	l.print()
	return err
}
