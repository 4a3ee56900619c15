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
	"pulsevault/pkg/web"
)

// cachePlaylist lets a player keep a playlist, but ask each time whether it still holds: renditions join it.
const cachePlaylist = "private, no-cache"

func (s *Streamer) servePlaylist(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, expiresAt time.Time) error {
	parsed, err := s.readPlaylist(r.Context(), media.VideoKey(id)+"/"+name)
	if err != nil {
		return err
	}
	v, err := s.Videos.Get(r.Context(), id)
	if err != nil {
		return err
	}
	until := expiresAt.Add(time.Duration(v.Duration * float64(time.Second)))
	if err := s.signURIs(r.Context(), parsed, id, path.Dir(name), until); err != nil {
		return err
	}
	signed, err := parsed.Marshal()
	if err != nil {
		return fmt.Errorf("sign playlist: %w", err)
	}
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
	sign := func(uri string) string {
		return uri + "?token=" + s.Signer.Sign(string(id), path.Join(folder, uri), until)
	}
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
			if s.Links == nil {
				seg.URI = sign(seg.URI)
				continue
			}
			link, err := s.Links.Link(ctx, media.VideoKey(id)+"/"+path.Join(folder, seg.URI), until)
			if err != nil {
				return fmt.Errorf("sign playlist: %w", err)
			}
			seg.URI = link
		}
	}
	return nil
}

func (s *Streamer) serveMetadata(w http.ResponseWriter, r *http.Request, id vault.VideoID) error {
	public, err := s.Videos.Public(r.Context(), id)
	if err != nil {
		return err
	}
	if err := s.note(r, id, "metadata"); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-store")
	web.RawJSON(w, r, http.StatusOK, public)
	return nil
}

type rendition struct {
	Name      string   `json:"name"`
	Playlist  string   `json:"playlist"`
	Width     int      `json:"width"`
	Height    int      `json:"height"`
	Bandwidth int      `json:"bandwidth"` // peak, bits per second
	Codecs    []string `json:"codecs"`
}

type renditionsAnswer struct {
	Renditions     []rendition `json:"renditions"`
	Status         string      `json:"status"`
	Progress       float64     `json:"progress"`
	MasterPlaylist *string     `json:"masterPlaylist"` // a path to sign, null until there is one
}

func (s *Streamer) serveRenditions(w http.ResponseWriter, r *http.Request, id vault.VideoID) error {
	v, err := s.Videos.Get(r.Context(), id)
	if err != nil {
		return err
	}
	a := renditionsAnswer{Renditions: []rendition{}}
	switch v.Status {
	case vault.Uploaded:
		a.Status = "pending"
	case vault.Transcoding:
		a.Status = "processing"
		a.Progress, _ = s.Progress.Progress(r.Context(), id)
	case vault.Transcoded:
		a.Status, a.Progress = "ready", 1
	case vault.TranscodeFailed:
		a.Status = "failed"
	}
	master, err := s.readPlaylist(r.Context(), media.HLSKey(id, media.MasterPlaylist))
	switch {
	case err == nil:
		name := "hls/" + media.MasterPlaylist
		a.MasterPlaylist, a.Renditions = &name, renditionsOf(master)
	case vault.KindOf(err) != vault.NotFound:
		return err
	}
	if err := s.note(r, id, "renditions"); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-store")
	web.JSON(w, r, http.StatusOK, a)
	return nil
}

func renditionsOf(p playlist.Playlist) []rendition {
	master, ok := p.(*playlist.Multivariant)
	if !ok {
		return []rendition{}
	}
	list := make([]rendition, 0, len(master.Variants))
	for _, v := range master.Variants {
		r := rendition{
			Name: media.RenditionName(v.URI), Playlist: "hls/" + v.URI, Bandwidth: v.Bandwidth, Codecs: v.Codecs,
		}
		_, _ = fmt.Sscanf(v.Resolution, "%dx%d", &r.Width, &r.Height) // stays 0x0 if there is none
		list = append(list, r)
	}
	return list
}
