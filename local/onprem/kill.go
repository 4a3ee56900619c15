package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
)

type killCommand struct {
	Down     time.Duration `default:"3s" help:"How long a service stays down."`
	Settle   time.Duration `default:"5s" help:"How long everything runs undisturbed in between."`
	Services []string      `arg:"" optional:"" help:"Services to kill; all that run, if none is named."`
}

const (
	uploaders    = 2
	playInterval = 200 * time.Millisecond
)

// Run kills one service after another. What was acknowledged must be there at the end, whole and transcoded, and no play may fail
// that was over before a service was killed, or began after it was healthy again.
func (k killCommand) Run(ctx context.Context, s *stack) error {
	if len(k.Services) == 0 {
		var err error
		if k.Services, err = s.services(ctx); err != nil {
			return err
		}
	}
	clip, err := s.clip(ctx)
	if err != nil {
		return err
	}
	l := &ledger{videos: map[string][sha256.Size]byte{}}
	watched, err := s.transcoded(ctx, clip, l)
	if err != nil {
		return err
	}
	p := &plays{}
	outages, err := s.underLoad(ctx, k.Settle, clip, watched, l, p, k.Services, k.kill)
	if err != nil {
		return err
	}
	err = errors.Join(report("killed", outages, p), l.check(ctx, s))
	l.print()
	return err
}

// transcoded uploads a video and waits until it can be played.
func (s *stack) transcoded(ctx context.Context, clip []byte, l *ledger) (string, error) {
	body := different(clip)
	video, err := s.upload(ctx, body, l)
	if err != nil {
		return "", err
	}
	l.add(func() { l.videos[video] = sha256.Sum256(body) })
	return video, s.awaitTranscoded(ctx, video)
}

// status is that of a video.
func (s *stack) status(ctx context.Context, video string) (string, error) {
	answer, err := s.Get(ctx, s.Base+"/videos/"+video)
	if err != nil {
		return "", err
	}
	var record struct {
		Status string `json:"status"`
	}
	return record.Status, json.Unmarshal(answer.Body, &record)
}

func (s *stack) awaitTranscoded(ctx context.Context, video string) error {
	for {
		status, err := s.status(ctx, video)
		switch {
		case err != nil:
			return fmt.Errorf("video %s: %w", video, err)
		case status == "transcoded":
			return nil
		case status == "transcode_failed":
			return fmt.Errorf("video %s could not be transcoded", video)
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return fmt.Errorf("video %s is still %s: %w", video, status, err)
		}
	}
}

// outage is what was done to something, from its beginning until everything was well again. Of a service: killed, started again,
// healthy again.
type outage struct {
	of         string
	begun, end time.Time
	tried      int   // requests for uploads that were tried again meanwhile
	why        error // of the last of them
}

// underLoad does something to one after another while videos are uploaded and played.
func (s *stack) underLoad(ctx context.Context, settle time.Duration, clip []byte, watched string, l *ledger, p *plays, all []string,
	do func(ctx context.Context, s *stack, one string) error) (outages []outage, err error) {
	stop := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	for range uploaders {
		group.Go(func() error { return s.uploadUntil(ctx, stop, clip, l) })
	}
	group.Go(func() error { return s.playUntil(ctx, stop, watched, p) })
	group.Go(func() error {
		defer close(stop)
		for _, one := range all {
			if err := pause(ctx, settle); err != nil {
				return err
			}
			before, _ := l.triedAgain()
			o := outage{of: one, begun: time.Now()}
			if err := do(ctx, s, one); err != nil {
				return fmt.Errorf("%s: %w", one, err)
			}
			o.end = time.Now()
			o.tried, o.why = l.triedAgain()
			o.tried -= before
			outages = append(outages, o)
		}
		return pause(ctx, settle)
	})
	return outages, group.Wait()
}

// kill kills a service, and starts it again.
func (k killCommand) kill(ctx context.Context, s *stack, service string) error {
	containers, err := s.containers(ctx, service)
	if err != nil {
		return err
	}
	if _, err := s.docker(ctx, append([]string{"kill"}, containers...)...); err != nil {
		return err
	}
	if err := pause(ctx, k.Down); err != nil {
		return err
	}
	if _, err := s.docker(ctx, append([]string{"start"}, containers...)...); err != nil {
		return err
	}
	return s.awaitHealthy(ctx, containers)
}

// play is one that was begun.
type play struct {
	begun, over time.Time
	cache       string
	err         error
}

type plays struct {
	mu   sync.Mutex
	list []play
}

// begin begins a play that is due at a time, and keeps how it went.
func (p *plays) begin(ctx context.Context, s *stack, video string, due time.Time) {
	one := play{begun: due}
	one.cache, one.err = s.play(ctx, video)
	one.over = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, one)
}

// playUntil begins plays at a steady rate, however long each takes, until stop is closed.
func (s *stack) playUntil(ctx context.Context, stop <-chan struct{}, video string, p *plays) error {
	tick := time.NewTicker(playInterval)
	defer tick.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case due := <-tick.C:
			running.Go(func() { p.begin(ctx, s, video, due) })
		}
	}
}

// report prints what each outage did to the plays. A play that fails at another time is an error.
func report(what string, outages []outage, p *plays) error {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "%s\tfor\tplays meanwhile\tfailed\tfrom the first to the last\tuploads: tried again\tfor example\n", what)
	failed := map[int]bool{}
	for _, o := range outages {
		during, bad := 0, []play(nil)
		for i, one := range p.list {
			if one.over.Before(o.begun) || one.begun.After(o.end) {
				continue
			}
			during++
			if one.err != nil {
				bad = append(bad, one)
				failed[i] = true
			}
		}
		span, example := time.Duration(0), ""
		if o.tried > 0 {
			example = told(o.why)
		}
		if len(bad) > 0 {
			last := slices.MaxFunc(bad, func(a, b play) int { return a.begun.Compare(b.begun) })
			first := slices.MinFunc(bad, func(a, b play) int { return a.begun.Compare(b.begun) })
			span, example = last.begun.Sub(first.begun), strings.SplitN(first.err.Error(), "\n", 2)[0]
		}
		_, _ = fmt.Fprintf(t, "%s\t%.1f s\t%d\t%d\t%.1f s\t%d\t%.90s\n", o.of, o.end.Sub(o.begun).Seconds(), during, len(bad), span.Seconds(), o.tried, example)
	}
	err := t.Flush()
	for i, one := range p.list {
		if one.err != nil && !failed[i] {
			err = errors.Join(err, fmt.Errorf("a play failed while everything ran, at %s: %w", one.begun.Format(time.TimeOnly), one.err))
		}
	}
	fmt.Printf("%d plays in all\n", len(p.list))
	return err
}

// check looks for everything that was acknowledged.
func (l *ledger) check(ctx context.Context, s *stack) error {
	var err error
	for _, video := range slices.Sorted(maps.Keys(l.videos)) {
		if there := s.whole(ctx, video, l.videos[video]); there != nil {
			l.lost = append(l.lost, there.Error())
		}
		err = errors.Join(err, s.awaitTranscoded(ctx, video))
	}
	if len(l.lost) > 0 {
		err = errors.Join(err, fmt.Errorf("what was acknowledged is lost: %s", strings.Join(l.lost, "; ")))
	}
	verdict, verifyErr := s.inside(ctx, "pulsevault", "pulsevault", "audit", "verify")
	if verifyErr != nil {
		return errors.Join(err, fmt.Errorf("the audit log is not whole: %w: %s", verifyErr, verdict))
	}
	fmt.Println("audit verify:", lastLine(verdict))
	return err
}

// whole reads a video back.
func (s *stack) whole(ctx context.Context, video string, sum [sha256.Size]byte) error {
	at, err := s.Link(ctx, video, "original.mp4")
	if err != nil {
		return fmt.Errorf("video %s: %w", video, err)
	}
	original, err := s.Get(ctx, at)
	if err != nil {
		return fmt.Errorf("video %s: %w", video, err)
	}
	if sha256.Sum256(original.Body) != sum {
		return fmt.Errorf("video %s has other bytes than were sent", video)
	}
	return pause(ctx, 50*time.Millisecond) // slower than the limits of one address
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}
