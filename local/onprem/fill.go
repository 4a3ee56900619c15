package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
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
	upload, err := s.create(ctx, int64(len(body)))
	if err != nil {
		return err
	}
	if _, err := s.send(ctx, upload, 0, body[:half]); err != nil {
		return err
	}
	fmt.Printf("a volume of %d MiB; an upload of %d bytes, %d of them acknowledged\n", mib, len(body), half)
	if err := s.whileFull(ctx, upload, half, body, watched); err != nil {
		return err
	}
	return s.afterwards(ctx, upload, half, body, watched)
}

// whileFull fills the volume, asks for room, and makes room again.
func (s *stack) whileFull(ctx context.Context, upload string, half int64, body []byte, watched string) (err error) {
	if _, _, err := s.do(ctx, http.StatusInsufficientStorage, http.MethodPost, "/uploads", nil, map[string]string{"Upload-Length": "9000000000"}); err != nil {
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
	_, sendErr := s.send(ctx, upload, half, body[half:])
	_, createErr := s.create(ctx, int64(len(body)))
	for what, refused := range map[string]error{"a piece": sendErr, "a new upload": createErr} {
		if statusOf(refused) != http.StatusInsufficientStorage {
			return fmt.Errorf("with a full volume %s was not refused with 507: %w", what, refused)
		}
	}
	fmt.Println("a piece, and a new upload: 507")
	// What is left of it is said, not asked for: an access that cannot be recorded may be refused.
	_, playErr := s.play(ctx, watched)
	_, _, readyErr := s.do(ctx, http.StatusOK, http.MethodGet, "/readyz", nil, nil)
	fmt.Printf("a play meanwhile: %s; readyz: %s\n", told(playErr), told(readyErr))
	return nil
}

// afterwards goes on where there was no room.
func (s *stack) afterwards(ctx context.Context, upload string, half int64, body []byte, watched string) error {
	n, err := s.offset(ctx, upload)
	if err != nil {
		return fmt.Errorf("ask for the offset when there is room again: %w", err)
	}
	if n < half || n > int64(len(body)) {
		return fmt.Errorf("%d bytes were acknowledged, and %d are there", half, n)
	}
	if _, err := s.send(ctx, upload, n, body[n:]); err != nil {
		return fmt.Errorf("go on when there is room again: %w", err)
	}
	video, err := s.finalize(ctx, upload)
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
	var r refusal
	switch {
	case err == nil:
		return "as ever"
	case errors.As(err, &r):
		says, _, _ := bytes.Cut([]byte(r.says), []byte(`,"requestId"`))
		return fmt.Sprintf("%d %s", r.status, says)
	default:
		return err.Error()
	}
}
