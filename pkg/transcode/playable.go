package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"pulsevault/pkg/hls"
	"pulsevault/pkg/media"
	"pulsevault/pkg/mpegts"
	"pulsevault/pkg/vault"
)

// playSource publishes the source itself, cut and not encoded, if nothing is published yet and it can be. What an attempt
// before has published stays; then only its length is recorded.
func (j *job) playSource(ctx context.Context, original string, plan Plan) error {
	if j.stands.version != media.None {
		return j.publishFirst(ctx, nil, plan.Source)
	}
	folder, err := os.MkdirTemp(j.folder, "")
	if err != nil {
		return err
	}
	copied, err := j.copySource(ctx, original, plan, folder)
	if err == nil {
		return j.publishFirst(ctx, copied, plan.Source)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	j.log.InfoContext(ctx, "the source is not copied", "reason", err)
	return os.RemoveAll(folder)
}

// publishFirst publishes what is not yet the whole ladder, if that is anything, and records how long the video is: the links
// in playlists live for as long as it lasts.
func (j *job) publishFirst(ctx context.Context, p *publication, s Source) error {
	_, err := j.Videos.Update(ctx, j.video.VideoID, func(v *vault.Video) error {
		if !j.holds(*v) {
			return errOvertaken
		}
		if p != nil {
			if err := j.publish(ctx, p, [2]string{"transcode/first", "transcode/playable"}); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			p = nil // change may be called again
		}
		v.Duration, v.Width, v.Height = j.stands.seconds, s.Width, s.Height
		return nil
	})
	if errors.Is(err, errPublished) { // in a bucket, by one that had been overtaken already: what it has published stands
		if j.stands, err = j.published(ctx); err == nil {
			return j.publishFirst(ctx, nil, s)
		}
	}
	if err == nil {
		j.log.InfoContext(ctx, "playable", "renditions", strings.Join(j.stands.names(), ","))
	}
	return err
}

// copySource cuts the source into segments as it is. ffmpeg cuts where the container claims key frames, so that nothing has
// to be read twice; what came of it is then held against the rules of published HLS. An error says why it is no good.
func (j *job) copySource(ctx context.Context, original string, plan Plan, folder string) (*publication, error) {
	if reason := plan.Source.unfitForCopy(); reason != "" {
		return nil, errors.New(reason)
	}
	work := segmentsIn(folder)
	if err := j.copyInto(ctx, work, original, plan); err != nil {
		return nil, err
	}
	e, err := measure(work, plan.Source.FrameRate, Rendition{Name: sourceName, Width: plan.Source.Coded[0], Height: plan.Source.Coded[1]})
	if err != nil {
		return nil, err
	}
	if apart := float64(e.dependent) / plan.Source.FrameRate.Float(); apart > maxKeyDistance {
		return nil, fmt.Errorf("its IDR pictures are up to %.1f s apart", apart)
	}
	if plan.cutOff(e.seconds()) {
		return nil, errors.New("it is shorter than its container announces")
	}
	p, err := prepare(folder, []encoded{e}, nil, j.attempt)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(p.sync) // the disk works while we look
	group.Go(func() error { return p.lint(ctx, work) })
	return p, group.Wait()
}

// copyInto has ffmpeg cut the source into segments, which are read while they are made: a long video plays as soon as it is cut.
func (j *job) copyInto(ctx context.Context, work *segments, original string, plan Plan) error {
	pattern := segmentPattern(j.attempt)
	copying, copied := context.WithCancel(ctx)
	var following sync.WaitGroup
	following.Go(func() {
		work.follow(copying, func(number int) string { return fmt.Sprintf(pattern(sourceName), number) })
	})
	following.Go(func() { warm(copying, original) })
	err := j.runner().encode(ctx, work.folder, plan.copyArguments(original, pattern), j.limits(plan), func(float64) {})
	copied()
	following.Wait()
	return err
}

// mostAhead is how much of a file is read ahead, in bytes: what is read much too early may be gone from memory when it is wanted.
const mostAhead = 1 << 30

// warm has the system read a file from disk before ffmpeg asks for it, bit by bit: what was uploaded went past its cache.
// Nothing depends on it.
func warm(ctx context.Context, path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 1<<20)
	for read := 0; read < mostAhead && ctx.Err() == nil; {
		n, err := f.Read(block)
		if err != nil {
			return
		}
		read += n
	}
}

// lint holds a publication against all rules of published HLS, in the bytes of its segments.
func (p *publication) lint(ctx context.Context, read *segments) error {
	report, err := hls.Lint(ctx, unpublished{p, read})
	if err != nil {
		return err
	}
	for _, r := range report.Results {
		if r.Verdict == hls.Fail {
			return fmt.Errorf("%s: %s", r.Rule, r.Evidence)
		}
	}
	return nil
}

// unpublished is a publication for the linter.
type unpublished struct {
	*publication
	read *segments
}

// Place is where the publication lies.
func (unpublished) Place() string { return "the work folder" }

// Master is the URI of the master playlist.
func (unpublished) Master() string { return media.MasterPlaylist }

// Open opens the master playlist or what it leads to.
func (u unpublished) Open(_ context.Context, uri string) (io.ReadCloser, http.Header, error) {
	if uri == media.MasterPlaylist {
		return io.NopCloser(strings.NewReader(string(u.master))), nil, nil
	}
	f, err := os.Open(filepath.Join(u.folder, uri))
	return f, nil, err
}

// Segment tells what is in a segment.
func (u unpublished) Segment(_ context.Context, uri string) (mpegts.Segment, error) {
	return u.read.get(uri)
}
