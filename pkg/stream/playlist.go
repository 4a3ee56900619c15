package stream

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
)

// cachePlaylist lets a player keep a playlist, but ask each time whether it still holds: renditions join it.
const cachePlaylist = "private, no-cache"

// serveSigned answers with a playlist or a storyboard, which is signed on the way out.
func (s *Streamer) serveSigned(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, grant token.Grant) error {
	f, err := s.form(r.Context(), id, name)
	if err != nil {
		return err
	}
	v, err := s.facts(r.Context(), id)
	if err != nil {
		return err
	}
	l := leave{grant.Sealed, id, v.until(grant)}
	memory, _ := s.signed.Get().(*[]byte)
	if memory == nil {
		memory = new([]byte)
	}
	defer s.signed.Put(memory)
	signed, err := s.sign(r.Context(), (*memory)[:0], f, l)
	if err != nil {
		return fmt.Errorf("sign %s: %w", name, err)
	}
	*memory = signed
	if err := s.note(r, grant, id, name); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", media.ContentType(name))
	h.Set("Cache-Control", keeping(grant, cachePlaylist))
	h.Set("ETag", s.etag(f, name, l, signed))
	serveContent(w, r, time.Time{}, bytes.NewReader(signed), int64(len(signed)))
	return nil
}
