package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
)

// facts are what requests want to know of a video's record.
type facts struct {
	owner       string // empty if nobody knows
	contentType string // of the original
	duration    time.Duration
}

// seen are facts, and the time just before the store was last seen to have their record.
type seen struct {
	facts
	at time.Time
}

// leased are facts that are less than a Lease old, if there are any. Nothing of them ever changes but the duration.
func (s *Streamer) leased(id vault.VideoID) (facts, bool) {
	last, ok := s.records.last(string(id))
	if !ok {
		return facts{}, false
	}
	now := time.Now()
	return last.facts, within(s.Lease, now.Sub(last.at), now.Round(0).Sub(last.at.Round(0)))
}

// within reports whether less than a lease has gone by, by both clocks: the monotonic one may stand still while a function is
// frozen, and the other one may be set.
func within(lease, monotonic, wall time.Duration) bool { return monotonic < lease && wall < lease }

// present is facts for those who do not ask for the duration. It looks whether the video is still there once a Lease.
func (s *Streamer) present(ctx context.Context, id vault.VideoID) (facts, error) {
	if f, ok := s.leased(id); ok {
		return f, nil
	}
	return s.facts(ctx, id)
}

// facts reads the record of a video, from the cache if the file is still what that was made of. So each request sees whether
// the video is still there, at the price of a look at its file.
func (s *Streamer) facts(ctx context.Context, id vault.VideoID) (facts, error) {
	before := time.Now()
	version, err := s.Media.Stamp(ctx, media.MetaKey(id))
	if errors.Is(err, fs.ErrNotExist) {
		s.records.forget(string(id))
		return facts{}, vault.NoVideo()
	}
	if err != nil {
		return facts{}, fmt.Errorf("read record of video %s: %w", id, err)
	}
	known, ok := s.records.get(string(id), version)
	if !ok {
		v, err := s.Videos.Get(ctx, id)
		if err != nil {
			return facts{}, err
		}
		known.facts = facts{v.UserID, v.ContentType, time.Duration(v.Duration * float64(time.Second))}
	}
	known.at = before
	// Should the record be newer than version, it is read once more. The id may be a part of a request's address.
	s.records.put(strings.Clone(string(id)), version, known, factsSize+len(known.owner)+len(known.contentType), maxRecords)
	return known.facts, nil
}

// until is how long links last that are given to whoever has one that expires: that long, and the video's duration. What is
// reached in an emergency ends with the link that was given for it.
func (f facts) until(g token.Grant) time.Time {
	if g.Claims.Emergency != "" {
		return g.ExpiresAt
	}
	return g.ExpiresAt.Add(f.duration)
}
