package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"pulsevault/pkg/mpegts"
)

// Source is where a video is published. Open opens what a URI leads to, as its playlist has it, seen from the folder of
// the master playlist, or an absolute URL; the caller has seen that it may be followed. The header is nil where there is
// no HTTP.
type Source interface {
	Place() string  // for people
	Master() string // the URI of the master playlist
	Open(ctx context.Context, uri string) (io.ReadCloser, http.Header, error)
}

// Reader is a Source that reads segments itself, or has read them before. Any error says why one is no segment.
type Reader interface {
	Segment(ctx context.Context, uri string) (mpegts.Segment, error)
}

// NewSource makes a Source of a URL, of a folder, or of a master playlist's file name.
func NewSource(place string) (Source, error) {
	if u, err := url.Parse(place); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return web{base: u, client: &http.Client{Timeout: fetchTimeout}}, nil
	}
	info, err := os.Stat(place)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return dir{root: os.DirFS(filepath.Dir(place)), place: place, master: filepath.Base(place)}, nil
	}
	for _, folder := range []string{place, filepath.Join(place, "hls")} {
		if _, err := os.Stat(filepath.Join(folder, masterName)); err == nil {
			return dir{root: os.DirFS(folder), place: folder, master: masterName}, nil
		}
	}
	return nil, fmt.Errorf("%s holds no %s: name the folder that does", place, masterName)
}

const (
	masterName = "master.m3u8"
	// fetchTimeout bounds one request, with its body.
	fetchTimeout = 2 * time.Minute
)

type dir struct {
	root          fs.FS
	place, master string
}

func (d dir) Place() string  { return d.place }
func (d dir) Master() string { return d.master }

func (d dir) Open(_ context.Context, uri string) (io.ReadCloser, http.Header, error) {
	name, err := url.PathUnescape(withoutQuery(uri))
	if err != nil {
		return nil, nil, err
	}
	f, err := d.root.Open(path.Clean(name))
	return f, nil, err
}

type web struct {
	base   *url.URL
	client *http.Client
}

// Place leaves out the query, which may hold a token.
func (w web) Place() string  { return w.base.Scheme + "://" + w.base.Host + w.base.Path }
func (w web) Master() string { return path.Base(w.base.Path) + query(w.base) }

func query(u *url.URL) string {
	if u.RawQuery == "" {
		return ""
	}
	return "?" + u.RawQuery
}

func (w web) Open(ctx context.Context, uri string) (io.ReadCloser, http.Header, error) {
	ref, err := url.Parse(uri)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base.ResolveReference(ref).String(), http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the rest of the message has the URL with its token
		}
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, errors.Join(fmt.Errorf("the answer is %s", resp.Status), resp.Body.Close())
	}
	return resp.Body, resp.Header, nil
}

func withoutQuery(uri string) string {
	name, _, _ := strings.Cut(uri, "?")
	return name
}

// inside reports whether a URI is relative and stays in the folder of the playlist that it stands in.
func inside(uri string) bool {
	u, err := url.Parse(uri)
	return err == nil && !u.IsAbs() && u.Host == "" && filepath.IsLocal(filepath.FromSlash(u.Path)) && !strings.Contains(u.Path, `\`)
}

// elsewhere is the host that an absolute URL names, as whoever keeps segments in a bucket does in a media playlist that is
// served; "" if it is none.
func elsewhere(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.Host
}
