package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pulsevault/local/bench/rig"
	"pulsevault/local/emulator"
)

// served is what a server of its own did with a video.
type served struct {
	hls         string        // folder of the published files
	first, done time.Duration // after finalize: until the first segment had come, until all renditions were there
	cpu         time.Duration // of the server and all that it started, from its start to its end
	memory      int64         // at most, of both together; 0 where it cannot be measured
}

// serve has a server that is started for it take a video in. It waits for the ladder, or else only for the first picture.
func (b *bench) serve(ctx context.Context, file string, ladder bool, settings ...string) (one served, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return one, err
	}
	b.served++
	root := filepath.Join(b.dir, fmt.Sprintf("server%d", b.served))
	s, err := rig.Start(ctx, b.binary, root, append([]string{"LOG_LEVEL=warn"}, settings...)...)
	if err != nil {
		return one, err
	}
	watched := watchMemory(s)
	err = one.follow(ctx, &rig.Client{Base: s.URL}, root, file, info.Size(), ladder)
	s.Stop()
	one.memory, one.cpu = <-watched, s.CPU()
	if err != nil {
		return one, s.Explain(err)
	}
	return one, nil
}

func (one *served) follow(ctx context.Context, c *rig.Client, root, file string, size int64, ladder bool) error {
	u, _, err := c.Upload(ctx, file, size)
	if err != nil {
		return err
	}
	id, _, err := c.Finalize(ctx, u)
	if err != nil {
		return err
	}
	finalized := time.Now()
	one.hls = filepath.Join(root, "videos", id, "hls")
	master, err := c.Link(ctx, id, "hls/master.m3u8")
	if err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) { return firstSegment(ctx, c, master) }); err != nil {
		return fmt.Errorf("wait for the first picture: %w", err)
	}
	one.first = time.Since(finalized)
	if !ladder {
		return nil
	}
	link, err := c.Link(ctx, id, "renditions")
	if err != nil {
		return err
	}
	err = until(ctx, func() (bool, error) { return ready(ctx, c, link) })
	one.done = time.Since(finalized)
	return err
}

// until asks again and again; what is not there yet is no error.
func until(ctx context.Context, ask func() (bool, error)) error {
	for {
		if done, err := ask(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// firstSegment follows a master playlist to a segment, as a player does, and reports whether it is there.
func firstSegment(ctx context.Context, c *rig.Client, link string) (bool, error) {
	for range 2 {
		next, err := c.Follow(ctx, link)
		if errors.Is(err, rig.ErrNowhere) {
			return false, err
		}
		if err != nil {
			return false, ctx.Err() // there is none yet
		}
		link = next
	}
	_, err := c.Get(ctx, link)
	return err == nil, err
}

func ready(ctx context.Context, c *rig.Client, link string) (bool, error) {
	record, err := c.Get(ctx, link)
	if err != nil {
		return false, err
	}
	var answer struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(record.Body, &answer); err != nil {
		return false, err
	}
	if answer.Status == "failed" {
		return false, fmt.Errorf("the server could not transcode it")
	}
	return answer.Status == "ready", nil
}

// watchMemory tells, once the server has ended, the most that it and its children held at one time, looked at every 50 ms.
func watchMemory(s *rig.Server) <-chan int64 {
	told := make(chan int64, 1)
	go func() {
		var most int64
		for s.Running() {
			most = max(most, emulator.ResidentMemory(s.PID()))
			time.Sleep(50 * time.Millisecond)
		}
		told <- most
	}()
	return told
}
