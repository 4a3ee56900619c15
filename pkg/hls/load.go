package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"

	"pulsevault/pkg/mpegts"
)

// video is a published video as it was read.
type video struct {
	master *playlist
	rungs  []*rung
	web    bool
}

// rung is a variant of the master playlist.
type rung struct {
	name     string // of its playlist, without the token
	attr     map[string]string
	list     *playlist // nil if it could not be read
	err      error     // why not
	segments []*segment
	step     float64 // time from picture to picture, in the units of a time stamp; 0 if that cannot be told
}

type segment struct {
	mpegts.Segment
	name    string
	seconds float64 // that its playlist announces
	header  http.Header
	err     error // why it could not be read
	broken  error // why what was read is no segment
}

// longestPlaylist has room for a day in segments of a second.
const longestPlaylist = 32 << 20

var errOutside = errors.New("it is not followed: it leads out of the folder")

func load(ctx context.Context, from Source) (*video, error) {
	v := &video{}
	var err error
	if v.master, err = readPlaylist(ctx, from, from.Master()); err != nil {
		return nil, err
	}
	v.web = v.master.header != nil
	for _, e := range v.master.entries {
		info, _ := find(e.tags, "EXT-X-STREAM-INF")
		r := &rung{name: withoutQuery(e.uri), attr: attributes(info)}
		if err := r.load(ctx, from, e.uri); err != nil {
			return nil, err
		}
		v.rungs = append(v.rungs, r)
	}
	return v, nil
}

// load reads a variant. What is wrong with it is kept; an error says only that ctx has ended.
func (r *rung) load(ctx context.Context, from Source, uri string) error {
	if !inside(uri) {
		r.err = errOutside
		return nil
	}
	if r.list, r.err = readPlaylist(ctx, from, uri); r.err != nil {
		return ctx.Err()
	}
	folder := path.Dir(withoutQuery(uri))
	for _, e := range r.list.entries {
		s := &segment{name: path.Join(folder, withoutQuery(e.uri)), seconds: e.seconds()}
		switch {
		case inside(e.uri):
			s.read(ctx, from, joinURI(folder, e.uri))
		case r.list.header != nil && elsewhere(e.uri) != "":
			s.name = withoutQuery(e.uri)
			s.read(ctx, from, e.uri)
		default:
			s.err = errOutside
		}
		r.segments = append(r.segments, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	r.step = r.measureStep()
	return nil
}

func joinURI(folder, uri string) string {
	if folder == "." {
		return uri
	}
	return folder + "/" + uri
}

func readPlaylist(ctx context.Context, from Source, uri string) (*playlist, error) {
	body, header, err := from.Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(body, longestPlaylist))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(strings.TrimPrefix(string(data), "\ufeff"), "#EXT") {
		return nil, fmt.Errorf("%s is no playlist", withoutQuery(uri))
	}
	return parsePlaylist(withoutQuery(uri), header, string(data)), nil
}

func (s *segment) read(ctx context.Context, from Source, uri string) {
	if known, ok := from.(Reader); ok {
		s.Segment, s.broken = known.Segment(ctx, uri)
		s.judge()
		return
	}
	body, header, err := from.Open(ctx, uri)
	if err != nil {
		s.err = err
		return
	}
	s.header = header
	s.Segment, s.broken = mpegts.Read(body)
	s.judge()
	s.err = errors.Join(s.err, body.Close())
}

// judge says what is wrong with a segment that was read and holds nothing.
func (s *segment) judge() {
	switch {
	case s.broken == nil && s.Size == 0:
		s.Segment, s.err = mpegts.Segment{}, errors.New("it is empty")
	case s.broken == nil && len(s.Pictures) == 0:
		s.broken = errors.New("it has no picture that can be found")
	}
}

// usable reports whether the segment's contents can be judged.
func (s *segment) usable() bool { return s.err == nil && s.broken == nil }

// whole reports whether every segment of the rung could be read.
func (r *rung) whole() bool {
	return r.list != nil && len(r.segments) > 0 && !slices.ContainsFunc(r.segments, func(s *segment) bool { return !s.usable() })
}

// ended reports whether nothing more will be added to the rung.
func (r *rung) ended() bool { return r.list.has("EXT-X-ENDLIST") }

// each calls do with every segment that could be read, and the one before it, if that could be read too.
func (v *video) each(do func(r *rung, before, s *segment)) {
	for _, r := range v.rungs {
		var before *segment
		for _, s := range r.segments {
			if s.usable() {
				do(r, before, s)
				before = s
			} else {
				before = nil
			}
		}
	}
}

// complete are the rungs that could be read to their ends.
func (v *video) complete() (list []*rung) {
	for _, r := range v.rungs {
		if r.whole() {
			list = append(list, r)
		}
	}
	return list
}
