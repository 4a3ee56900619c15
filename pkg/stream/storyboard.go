package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/storyboard"
	"pulsevault/pkg/vault"
)

// serveStoryboard answers as servePlaylist does: each sheet gets a link of its own, in front of the fragment that says which
// part of it is meant.
func (s *Streamer) serveStoryboard(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, expiresAt time.Time) error {
	data, _, err := s.Media.Read(r.Context(), media.VideoKey(id)+"/"+name)
	if errors.Is(err, fs.ErrNotExist) {
		return errNoMedia()
	}
	if err != nil {
		return fmt.Errorf("read storyboard: %w", err)
	}
	cues, err := storyboard.Unmarshal(data)
	if err != nil {
		return fmt.Errorf("read storyboard: %w", err)
	}
	until, err := s.until(r.Context(), id, expiresAt)
	if err != nil {
		return err
	}
	if err := s.signCues(r.Context(), cues, id, path.Dir(name), until); err != nil {
		return fmt.Errorf("sign storyboard: %w", err)
	}
	signed, err := storyboard.Marshal(cues)
	if err != nil {
		return fmt.Errorf("sign storyboard: %w", err)
	}
	return s.serveSigned(w, r, id, name, signed)
}

// signCues gives all cues of one sheet the same link, so that a player fetches it once.
func (s *Streamer) signCues(ctx context.Context, cues []storyboard.Cue, id vault.VideoID, folder string, until time.Time) (err error) {
	links := map[string]string{}
	for i, c := range cues {
		link, known := links[c.URI]
		if !known {
			if link, err = s.fileURI(ctx, id, folder, c.URI, until); err != nil {
				return err
			}
			links[c.URI] = link
		}
		cues[i].URI = link
	}
	return nil
}
