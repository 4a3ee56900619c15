package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/media"
	"pulsevault/pkg/storyboard"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
)

// form is a stored playlist or storyboard in which every URI can get its token without being parsed again: it was parsed
// once, and written with its URIs marked. It is never changed.
type form struct {
	blanks []blank
	rest   string            // behind the last one
	sum    [sha256.Size]byte // of the text and its marks
	length int               // of the text when it is signed, about
}

// blank is where a URI belongs.
type blank struct {
	before string // the text between the URI before it and this one
	uri    string
	path   string // what the URI leads to, below the video
	file   bool   // players only fetch it, so it may be elsewhere
}

// size is about what a form takes of memory, in bytes.
func (f *form) size() int {
	n := len(f.rest)
	for _, b := range f.blanks {
		n += len(b.before) + len(b.uri) + len(b.path) + blankSize
	}
	return n
}

const (
	blankSize = 64 // of the members of a blank
	tokenSize = 92 // of "?token=" and a token without claims, at most
)

// mark stands around each URI of a form that is being made. No text file has it.
const mark = "\x00"

func marked(uri string) string { return mark + uri + mark }

// form returns the form of a file that holds links, from the cache if the file is still what that was made of.
func (s *Streamer) form(ctx context.Context, id vault.VideoID, name string) (*form, error) {
	key := media.VideoKey(id) + "/" + name
	version, err := s.Media.Stamp(ctx, key)
	if err != nil {
		return nil, unread("read", name, err)
	}
	if f, ok := s.forms.get(key, version); ok {
		return f, nil
	}
	data, version, err := s.Media.Read(ctx, key)
	if err != nil {
		return nil, unread("read", name, err)
	}
	f, err := makeForm(name, data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	s.forms.put(key, version, f, f.size(), maxForms)
	return f, nil
}

// makeForm parses a file, marks its URIs as values, writes it, and takes it apart at the marks.
func makeForm(name string, data []byte) (*form, error) {
	if bytes.Contains(data, []byte(mark)) {
		return nil, errors.New("it is no text")
	}
	write := markPlaylist
	if name == media.Storyboard {
		write = markStoryboard
	}
	text, files, err := write(data)
	if err != nil {
		return nil, err
	}
	return cut(string(text), path.Dir(name), files)
}

func cut(text, folder string, files bool) (*form, error) {
	parts := strings.Split(text, mark)
	if len(parts)%2 == 0 {
		return nil, errors.New("a link in it has no end")
	}
	f := &form{
		blanks: make([]blank, 0, len(parts)/2), rest: parts[len(parts)-1],
		sum: sha256.Sum256([]byte(text)), length: len(text) + len(parts)/2*tokenSize,
	}
	for i := 0; i+1 < len(parts); i += 2 {
		uri := parts[i+1]
		f.blanks = append(f.blanks, blank{parts[i], uri, path.Join(folder, uri), files})
	}
	return f, nil
}

// markPlaylist reports whether the URIs are those of segments.
func markPlaylist(data []byte) (text []byte, files bool, err error) {
	parsed, err := playlist.Unmarshal(data)
	if err != nil {
		return nil, false, err
	}
	switch p := parsed.(type) {
	case *playlist.Multivariant:
		for _, v := range p.Variants {
			v.URI = marked(v.URI)
		}
		for _, r := range p.Renditions {
			if r.URI != nil {
				uri := marked(*r.URI)
				r.URI = &uri
			}
		}
	case *playlist.Media:
		files = true
		for _, seg := range p.Segments {
			seg.URI = marked(seg.URI)
		}
	}
	text, err = parsed.Marshal()
	return text, files, err
}

func markStoryboard(data []byte) (text []byte, files bool, err error) {
	cues, err := storyboard.Unmarshal(data)
	if err != nil {
		return nil, false, err
	}
	for i, c := range cues {
		cues[i].URI = marked(c.URI)
	}
	text, err = storyboard.Marshal(cues)
	return text, true, err
}

// leave is what the links of a form are signed with.
type leave struct {
	claims token.Sealed // of the request's link, handed on
	id     vault.VideoID
	until  time.Time
}

// direct reports whether files are fetched elsewhere. A link that leads there is good for whoever has it until it ends, so it
// is no place for one with claims, which are held against each request.
func (s *Streamer) direct(l leave) bool { return s.Links != nil && l.claims == "" }

// sign adds a form to out that is filled: each URI gets a token of its own, and stays relative, but for those that are fetched elsewhere. One
// that follows upon itself, as those of a storyboard do, gets the same link, so that a player fetches it once.
func (s *Streamer) sign(ctx context.Context, out []byte, f *form, l leave) ([]byte, error) {
	out = slices.Grow(out, f.length+len(f.blanks)*len(l.claims))
	direct := s.direct(l)
	var last []byte // the link before
	for i, b := range f.blanks {
		out = append(out, b.before...)
		start := len(out)
		switch {
		case i > 0 && b.uri == f.blanks[i-1].uri:
			out = append(out, last...)
		case b.file && direct:
			link, err := s.Links.Link(ctx, media.VideoKey(l.id)+"/"+b.path, l.until)
			if err != nil {
				return nil, err
			}
			out = append(out, link...)
		default:
			out = append(append(out, b.uri...), "?token="...)
			out = s.Signer.Append(out, l.claims, string(l.id), b.path, l.until)
		}
		last = out[start:]
	}
	return append(out, f.rest...), nil
}

// etag is that of a form as sign has filled it. Where all links are tokens, one more token, which nobody is given, stands for
// all of them: the rest is in the form.
func (s *Streamer) etag(f *form, name string, l leave, signed []byte) string {
	if !s.direct(l) {
		signed = s.Signer.Append(f.sum[:len(f.sum):len(f.sum)], l.claims, string(l.id), name, l.until)
	}
	sum := sha256.Sum256(signed)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}
