package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// cachePlaylist lets a player keep a playlist, but ask each time whether it still holds: renditions join it.
const cachePlaylist = "private, no-cache"

func (s *Streamer) servePlaylist(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, expiresAt time.Time) error {
	parsed, err := s.readPlaylist(r.Context(), media.VideoKey(id)+"/"+name)
	if err != nil {
		return err
	}
	until, err := s.until(r.Context(), id, expiresAt)
	if err != nil {
		return err
	}
	if err := s.signURIs(r.Context(), parsed, id, path.Dir(name), until); err != nil {
		return err
	}
	signed, err := parsed.Marshal()
	if err != nil {
		return fmt.Errorf("sign playlist: %w", err)
	}
	return s.serveSigned(w, r, id, name, signed)
}

// until is how long links last that are given to whoever has one that expires: that long, and the video's duration.
func (s *Streamer) until(ctx context.Context, id vault.VideoID, expiresAt time.Time) (time.Time, error) {
	v, err := s.Videos.Get(ctx, id)
	return expiresAt.Add(time.Duration(v.Duration * float64(time.Second))), err
}

// serveSigned answers with a file that was signed on the way out.
func (s *Streamer) serveSigned(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, signed []byte) error {
	if err := s.note(r, id, name); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", media.ContentType(name))
	h.Set("Cache-Control", cachePlaylist)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(signed)))
	serveContent(w, r, time.Time{}, bytes.NewReader(signed), int64(len(signed)))
	return nil
}

// readPlaylist reads a playlist as a value.
func (s *Streamer) readPlaylist(ctx context.Context, key string) (playlist.Playlist, error) {
	data, _, err := s.Media.Read(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoMedia()
	}
	if err != nil {
		return nil, fmt.Errorf("read playlist: %w", err)
	}
	parsed, err := playlist.Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("read playlist: %w", err)
	}
	return parsed, nil
}

// signURIs gives each URI of a playlist in folder its own token. The URIs stay relative, but for those of segments that
// are fetched elsewhere.
func (s *Streamer) signURIs(ctx context.Context, p playlist.Playlist, id vault.VideoID, folder string, until time.Time) error {
	sign := func(uri string) string { return s.signURI(id, folder, uri, until) }
	switch p := p.(type) {
	case *playlist.Multivariant:
		for _, v := range p.Variants {
			v.URI = sign(v.URI)
		}
		for _, r := range p.Renditions {
			if r.URI != nil {
				signed := sign(*r.URI)
				r.URI = &signed
			}
		}
	case *playlist.Media:
		for _, seg := range p.Segments {
			link, err := s.fileURI(ctx, id, folder, seg.URI, until)
			if err != nil {
				return fmt.Errorf("sign playlist: %w", err)
			}
			seg.URI = link
		}
	}
	return nil
}

// signURI gives a URI in folder its own token. It stays relative.
func (s *Streamer) signURI(id vault.VideoID, folder, uri string, until time.Time) string {
	return uri + "?token=" + s.Signer.Sign(string(id), path.Join(folder, uri), until)
}

// fileURI is what leads to a file that players only fetch: to us, or to where it can be had without us.
func (s *Streamer) fileURI(ctx context.Context, id vault.VideoID, folder, uri string, until time.Time) (string, error) {
	if s.Links == nil {
		return s.signURI(id, folder, uri, until), nil
	}
	return s.Links.Link(ctx, media.VideoKey(id)+"/"+path.Join(folder, uri), until)
}
