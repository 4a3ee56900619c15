package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// ServeMedia answers GET and HEAD /media/videos/{id}/{path...}.
func (s *Streamer) ServeMedia(w http.ResponseWriter, r *http.Request) error {
	videoID, name := r.PathValue("id"), r.PathValue("path")
	expiresAt, err := s.authorize(r, videoID, name)
	if err != nil {
		return err
	}
	id, err := vault.ParseVideoID(videoID)
	if err != nil || !media.ValidPath(name) {
		return errNoMedia()
	}
	switch {
	case name == "metadata":
		return s.serveMetadata(w, r, id)
	case name == "renditions":
		return s.serveRenditions(w, r, id)
	case path.Ext(name) == ".m3u8", name == media.Storyboard:
		return s.serveSigned(w, r, id, name, expiresAt)
	}
	return s.serveFile(w, r, id, name, expiresAt)
}

func errNoMedia() error {
	return vault.Errorf(vault.NotFound, "media_not_found", "there is no such media; it may not be ready yet: ask for renditions")
}

func (s *Streamer) serveFile(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, expiresAt time.Time) error {
	f, err := s.Media.Open(r.Context(), media.VideoKey(id)+"/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoMedia()
	}
	if err != nil {
		return fmt.Errorf("open media %s: %w", name, err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open media %s: %w", name, err)
	}
	contentType, err := s.contentType(r.Context(), id, name)
	if err != nil {
		return err
	}
	if err := s.note(r, id, name); err != nil {
		return err
	}
	if s.goesAround(r, info.Size()) {
		return s.redirect(w, r, id, name, expiresAt)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", media.CacheControl)
	h.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	serveContent(w, r, info.ModTime(), f, info.Size())
	return nil
}

// goesAround reports whether an answer would be larger than what may go through us, and can be had elsewhere.
func (s *Streamer) goesAround(r *http.Request, size int64) bool {
	if s.Links == nil || s.MaxDirect == 0 || size <= s.MaxDirect || r.Method == http.MethodHead {
		return false
	}
	var first, last int64
	n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return n != 2 || last-first >= s.MaxDirect || strings.Contains(r.Header.Get("Range"), ",")
}

// redirect sends whoever wants a large file to where it is. Players are not sent there: playlists name it themselves.
func (s *Streamer) redirect(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, until time.Time) error {
	link, err := s.Links.Link(r.Context(), media.VideoKey(id)+"/"+name, until)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "private, no-store")
	h.Set("Location", link)
	w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// note records an access before any byte of it goes out.
func (s *Streamer) note(r *http.Request, id vault.VideoID, name string) error {
	details := map[string]any{"method": r.Method}
	if rng := r.Header.Get("Range"); rng != "" {
		details["range"] = rng[:min(len(rng), 64)]
	}
	err := s.Audit.Note(r.Context(), audit.Access, audit.Event{
		Action: "media.accessed", RequestID: web.RequestID(r), Address: web.Client(r), VideoID: string(id), Path: name,
		Details: details,
	})
	if err != nil {
		return vault.Errorf(vault.Unavailable, "audit_unavailable", "the access cannot be recorded now, so nothing is served; try again").Because(err)
	}
	failpoint.Hit("stream/audited")
	return nil
}

func (s *Streamer) contentType(ctx context.Context, id vault.VideoID, name string) (string, error) {
	if name != "original.mp4" {
		if t := media.ContentType(name); t != "" {
			return t, nil
		}
		return "application/octet-stream", nil
	}
	if t, ok := s.types.get(id); ok {
		return t, nil
	}
	v, err := s.Videos.Get(ctx, id)
	if err != nil {
		return "", err
	}
	s.types.put(id, v.ContentType)
	return v.ContentType, nil
}

// typeCache remembers the content types of originals, which never change.
type typeCache struct {
	mu    sync.Mutex
	types map[vault.VideoID]string
}

const maxTypes = 10_000

func (c *typeCache) get(id vault.VideoID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.types[id]
	return t, ok
}

func (c *typeCache) put(id vault.VideoID, t string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.types == nil || len(c.types) >= maxTypes {
		c.types = make(map[vault.VideoID]string)
	}
	c.types[id] = t
}
