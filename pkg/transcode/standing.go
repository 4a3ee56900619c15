package transcode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
)

// standing is what of a video is published: the variants of its master playlist, lowest first.
type standing struct {
	version  string // of the master playlist, media.None if there is none
	variants []*playlist.MultivariantVariant
	seconds  float64 // that the first variant lasts
}

// sourceName is the rendition that is the source itself, cut and not encoded. It is none of the ladder's.
const sourceName = "source"

// rungs are the variants that stay when the ladder is done.
func (s standing) rungs() []*playlist.MultivariantVariant {
	return slices.DeleteFunc(slices.Clone(s.variants), func(v *playlist.MultivariantVariant) bool {
		return media.RenditionName(v.URI) == sourceName
	})
}

// lacks are the renditions of a plan that are still to be made.
func (s standing) lacks(p Plan) []Rendition {
	names := s.names()
	return slices.DeleteFunc(slices.Clone(p.Renditions), func(r Rendition) bool { return slices.Contains(names, r.Name) })
}

// names are the renditions, highest first.
func (s standing) names() (names []string) {
	for _, v := range slices.Backward(s.variants) {
		names = append(names, media.RenditionName(v.URI))
	}
	return names
}

// published reads what stands.
func (j *job) published(ctx context.Context) (s standing, err error) {
	data, version, err := j.Store.Read(ctx, media.HLSKey(j.video.VideoID, media.MasterPlaylist))
	if errors.Is(err, fs.ErrNotExist) {
		return standing{version: media.None}, nil
	}
	var master playlist.Multivariant
	if err == nil {
		err = master.Unmarshal(data)
	}
	if err != nil {
		return s, fmt.Errorf("read playlist %s: %w", media.MasterPlaylist, err)
	}
	s = standing{version: version, variants: master.Variants}
	var first playlist.Media
	if err := j.readPlaylist(ctx, master.Variants[0].URI, &first); err != nil {
		return s, err
	}
	for _, seg := range first.Segments {
		s.seconds += seg.Duration.Seconds()
	}
	return s, nil
}

// asCut adds to a source what is known of it since it was cut and published as it is: where, and its bit rate, with its sound.
// A copy whose pictures are not those of the grid is of no use to the other renditions.
func (j *job) asCut(ctx context.Context, s Source) (Source, error) {
	for _, v := range j.stands.variants {
		if media.RenditionName(v.URI) != sourceName || v.AverageBandwidth == nil {
			continue
		}
		var list playlist.Media
		if err := j.readPlaylist(ctx, v.URI, &list); err != nil {
			return s, err
		}
		var at float64
		var keys []float64
		for _, seg := range list.Segments {
			keys = append(keys, at)
			at += seg.Duration.Seconds()
		}
		if math.Round(at*s.FrameRate.Float()) == math.Round(s.Duration*s.FrameRate.Float()) {
			s.KeyFrames = keys
			if s.BitRate < *v.AverageBandwidth/2 { // the container does not tell, or says what cannot be
				s.BitRate = *v.AverageBandwidth
			}
		}
	}
	return s, nil
}

func (j *job) readPlaylist(ctx context.Context, name string, into playlist.Playlist) error {
	data, _, err := j.Store.Read(ctx, media.HLSKey(j.video.VideoID, name))
	if err == nil {
		err = into.Unmarshal(data)
	}
	if err != nil {
		return fmt.Errorf("read playlist %s: %w", name, err)
	}
	return nil
}

// playable reports whether there is a master playlist.
func (j *job) playable(ctx context.Context) (bool, error) {
	_, err := j.Store.Stamp(ctx, media.HLSKey(j.video.VideoID, media.MasterPlaylist))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
