package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// cachePlaylist lets a player keep a playlist, but ask each time whether it still holds: renditions join it.
const cachePlaylist = "private, no-cache"

// serveSigned answers with a playlist or a storyboard, which is signed on the way out.
func (s *Streamer) serveSigned(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, expiresAt time.Time) error {
	f, err := s.form(r.Context(), id, name)
	if err != nil {
		return err
	}
	until, err := s.until(r.Context(), id, expiresAt)
	if err != nil {
		return err
	}
	memory, _ := s.signed.Get().(*[]byte)
	if memory == nil {
		memory = new([]byte)
	}
	defer s.signed.Put(memory)
	signed, err := s.sign(r.Context(), (*memory)[:0], f, id, until)
	if err != nil {
		return fmt.Errorf("sign %s: %w", name, err)
	}
	*memory = signed
	if err := s.note(r, id, name); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", media.ContentType(name))
	h.Set("Cache-Control", cachePlaylist)
	h.Set("ETag", s.etag(f, id, name, until, signed))
	serveContent(w, r, time.Time{}, bytes.NewReader(signed), int64(len(signed)))
	return nil
}

// until is how long links last that are given to whoever has one that expires: that long, and the video's duration.
func (s *Streamer) until(ctx context.Context, id vault.VideoID, expiresAt time.Time) (time.Time, error) {
	key := media.MetaKey(id)
	version, err := s.Media.Stamp(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // Videos has the words for that
		return expiresAt, fmt.Errorf("read record of video %s: %w", id, err)
	}
	if d, ok := s.durations.get(key, version); ok && err == nil {
		return expiresAt.Add(d), nil
	}
	v, err := s.Videos.Get(ctx, id)
	if err != nil {
		return expiresAt, err
	}
	d := time.Duration(v.Duration * float64(time.Second))
	s.durations.put(key, version, d, durationSize, maxDurations) // should the record be newer than version, it is read once more
	return expiresAt.Add(d), nil
}
