package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"pulsevault/local/bench/rig"
)

type fillCommand struct {
	Most int64 `default:"2048" help:"MiB that the volume may have at most: a larger one is not filled."`
}

const filler = "/media/.tmp-filler"

// Run fills the volume, sees that everything that wants room is refused with 507 and that nothing acknowledged is lost, makes room
// again, and sees that what was cut short goes on.
func (f fillCommand) Run(ctx context.Context, s *stack) (err error) {
	size, err := s.inside(ctx, "pulsevault", "sh", "-c", "df -Pm /media | awk 'NR == 2 { print $2 }'")
	if err != nil {
		return err
	}
	var mib int64
	if _, err := fmt.Sscan(size, &mib); err != nil || mib > f.Most {
		return fmt.Errorf("the volume of the media has %s MiB, more than --most %d: this is for one that was made small", strings.TrimSpace(size), f.Most)
	}
	clip, err := s.clip(ctx)
	if err != nil {
		return err
	}
	watched, err := s.transcoded(ctx, clip, &ledger{videos: map[string][sha256.Size]byte{}})
	if err != nil {
		return err
	}
	body := different(clip)
	half := int64(len(body) / 2)
	upload, err := s.Create(ctx, int64(len(body)))
	if err != nil {
		return err
	}
	if _, err := s.Send(ctx, upload, 0, bytes.NewReader(body[:half])); err != nil {
		return err
	}
	fmt.Printf("a volume of %d MiB; an upload of %d bytes, %d of them acknowledged\n", mib, len(body), half)
	if err := s.whileFull(ctx, upload, half, body, watched); err != nil {
		return err
	}
	return s.afterwards(ctx, upload, half, body, watched)
}

// whileFull fills the volume, asks for room, and makes room again.
func (s *stack) whileFull(ctx context.Context, upload *url.URL, half int64, body []byte, watched string) (err error) {
	if _, err := s.Create(ctx, 9_000_000_000); rig.StatusOf(err) != http.StatusInsufficientStorage {
		return fmt.Errorf("an upload larger than the room was not refused with 507: %w", err)
	}
	fmt.Println("an upload that is larger than what is free: 507")
	_, _ = s.inside(ctx, "transcode-worker", "dd", "if=/dev/zero", "of="+filler, "bs=64k") // ends when the volume is full
	defer func() {
		_, removed := s.inside(context.WithoutCancel(ctx), "transcode-worker", "rm", filler)
		err = errors.Join(err, removed)
	}()
	free, err := s.inside(ctx, "pulsevault", "sh", "-c", "df -Pk /media | awk 'NR == 2 { print $4 }'")
	if err != nil {
		return err
	}
	fmt.Printf("filled: %s KiB free\n", strings.TrimSpace(free))
	_, sendErr := s.Send(ctx, upload, half, bytes.NewReader(body[half:]))
	_, createErr := s.Create(ctx, int64(len(body)))
	for what, refused := range map[string]error{"a piece": sendErr, "a new upload": createErr} {
		if rig.StatusOf(refused) != http.StatusInsufficientStorage {
			return fmt.Errorf("with a full volume %s was not refused with 507: %w", what, refused)
		}
	}
	fmt.Println("a piece, and a new upload: 507")
	// What is left of it is said, not asked for: an access that cannot be recorded may be refused.
	_, playErr := s.play(ctx, watched)
	_, readyErr := s.Get(ctx, s.Base+"/readyz")
	fmt.Printf("a play meanwhile: %s; readyz: %s\n", told(playErr), told(readyErr))
	return nil
}

// afterwards goes on where there was no room.
func (s *stack) afterwards(ctx context.Context, upload *url.URL, half int64, body []byte, watched string) error {
	n, err := s.Offset(ctx, upload)
	if err != nil {
		return fmt.Errorf("ask for the offset when there is room again: %w", err)
	}
	if n < half || n > int64(len(body)) {
		return fmt.Errorf("%d bytes were acknowledged, and %d are there", half, n)
	}
	if _, err := s.Send(ctx, upload, n, bytes.NewReader(body[n:])); err != nil {
		return fmt.Errorf("go on when there is room again: %w", err)
	}
	video, _, err := s.Finalize(ctx, upload)
	if err != nil {
		return err
	}
	if err := s.awaitTranscoded(ctx, video); err != nil {
		return err
	}
	fmt.Printf("emptied: the upload went on from %d, was finalized and transcoded\n", n)
	l := &ledger{videos: map[string][sha256.Size]byte{video: sha256.Sum256(body)}}
	if _, err := s.play(ctx, watched); err != nil {
		return fmt.Errorf("play when there is room again: %w", err)
	}
	return l.check(ctx, s)
}

// told is what an answer was, in a word or two.
func told(err error) string {
	if err == nil {
		return "as ever"
	}
	says, _, _ := strings.Cut(err.Error(), `,"requestId"`)
	return says
}
