package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

// facts reads the record of a video, from the cache if the file is still what that was made of. So each request sees whether
// the video is still there, at the price of a look at its file.
func (s *Streamer) facts(ctx context.Context, id vault.VideoID) (facts, error) {
	key := media.MetaKey(id)
	version, err := s.Media.Stamp(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return facts{}, vault.NoVideo()
	}
	if err != nil {
		return facts{}, fmt.Errorf("read record of video %s: %w", id, err)
	}
	if f, ok := s.records.get(key, version); ok {
		return f, nil
	}
	v, err := s.Videos.Get(ctx, id)
	if err != nil {
		return facts{}, err
	}
	f := facts{v.UserID, v.ContentType, time.Duration(v.Duration * float64(time.Second))}
	// Should the record be newer than version, it is read once more.
	s.records.put(key, version, f, factsSize+len(f.owner)+len(f.contentType), maxRecords)
	return f, nil
}

// until is how long links last that are given to whoever has one that expires: that long, and the video's duration. What is
// reached in an emergency ends with the link that was given for it.
func (f facts) until(g token.Grant) time.Time {
	if g.Claims.Emergency != "" {
		return g.ExpiresAt
	}
	return g.ExpiresAt.Add(f.duration)
}
