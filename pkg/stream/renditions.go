package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

func (s *Streamer) serveMetadata(w http.ResponseWriter, r *http.Request, grant token.Grant, id vault.VideoID) error {
	public, err := s.Videos.Public(r.Context(), id)
	if err != nil {
		return err
	}
	if err := s.note(r, grant, id, "metadata"); err != nil {
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
	Poster         *string     `json:"poster"`         // likewise
	Storyboard     *string     `json:"storyboard"`     // likewise
}

func (s *Streamer) serveRenditions(w http.ResponseWriter, r *http.Request, grant token.Grant, id vault.VideoID) error {
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
	if err := s.lookForPreview(r.Context(), id, &a); err != nil {
		return err
	}
	if err := s.note(r, grant, id, "renditions"); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, no-store")
	web.JSON(w, r, http.StatusOK, a)
	return nil
}

// lookForPreview says whether there are a poster and a storyboard. The latter is written last, so one look tells of both.
func (s *Streamer) lookForPreview(ctx context.Context, id vault.VideoID, a *renditionsAnswer) error {
	_, err := s.Media.Stamp(ctx, media.VideoKey(id)+"/"+media.Storyboard)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	poster, storyboard := media.Poster, media.Storyboard
	a.Poster, a.Storyboard = &poster, &storyboard
	return err
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
