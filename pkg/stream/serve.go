package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// ServeMedia answers GET and HEAD /media/videos/{id}/{path...}.
func (s *Streamer) ServeMedia(w http.ResponseWriter, r *http.Request) error {
	videoID, name := r.PathValue("id"), r.PathValue("path")
	if proof := r.Header.Get(ProofHeader); proof != "" && s.Proofs != nil && web.FromProxy(r) {
		return s.serveProven(w, r, videoID, name, proof)
	}
	grant, err := s.admit(r, videoID, name)
	if err != nil {
		return err
	}
	id, err := vault.ParseVideoID(videoID)
	if err != nil || !media.ValidPath(name) {
		return errNoMedia()
	}
	switch {
	case name == "metadata":
		return s.serveMetadata(w, r, grant, id)
	case name == "renditions":
		return s.serveRenditions(w, r, grant, id)
	case isSigned(name):
		return s.serveSigned(w, r, id, name, grant)
	}
	return s.serveFile(w, r, id, name, grant)
}

// isSigned reports whether a file holds links, which are signed for whoever asks.
func isSigned(name string) bool { return path.Ext(name) == ".m3u8" || name == media.Storyboard }

// isFile reports whether what is served under a name is the same for everybody: the bytes of a file.
func isFile(name string) bool { return name != "metadata" && name != "renditions" && !isSigned(name) }

func errNoMedia() error {
	return vault.Errorf(vault.NotFound, "media_not_found", "there is no such media; it may not be ready yet: ask for renditions")
}

// served is what is known of a video whose files may be served. Of one that was deleted they may be going.
func (s *Streamer) served(ctx context.Context, id vault.VideoID) (facts, error) {
	video, err := s.present(ctx, id)
	if err != nil && vault.KindOf(err) == vault.NotFound {
		return facts{}, errNoMedia()
	}
	return video, err
}

// unread is what it means that a file cannot be had.
func unread(doing, name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errNoMedia()
	}
	return fmt.Errorf("%s %s: %w", doing, name, err)
}

// file is one that is open to be served.
type file struct {
	media.Object
	info        fs.FileInfo
	contentType string
}

// open opens a file of a video that is there. The caller closes it.
func (s *Streamer) open(ctx context.Context, id vault.VideoID, name string) (file, error) {
	video, err := s.served(ctx, id)
	if err != nil {
		return file{}, err
	}
	f, err := s.Media.Open(ctx, media.VideoKey(id)+"/"+name)
	if err != nil {
		return file{}, unread("open media", name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return file{}, errors.Join(fmt.Errorf("open media %s: %w", name, err), f.Close())
	}
	return file{f, info, contentType(video, name)}, nil
}

// etag is that of a file's bytes, as far as its time and size tell.
func etag(info fs.FileInfo) string {
	tag := strconv.AppendInt([]byte{'"'}, info.ModTime().UnixNano(), 16)
	tag = strconv.AppendInt(append(tag, '-'), info.Size(), 16)
	return string(append(tag, '"'))
}

func (s *Streamer) serveFile(w http.ResponseWriter, r *http.Request, id vault.VideoID, name string, grant token.Grant) error {
	f, err := s.open(r.Context(), id, name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	if err := s.note(r, grant, id, name); err != nil {
		return err
	}
	if s.goesAround(r, f.info.Size()) {
		return s.redirect(w, r, id, name, s.elsewhere(grant))
	}
	f.send(w, r, keeping(grant, media.CacheControl))
	return nil
}

func (f file) send(w http.ResponseWriter, r *http.Request, cacheControl string) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("Cache-Control", cacheControl)
	h.Set("ETag", etag(f.info))
	var content io.ReadSeeker = f.Object
	if at, ok := f.Object.(io.ReaderAt); ok {
		content = io.NewSectionReader(at, 0, f.info.Size()) // which seeks without asking the system
	}
	serveContent(w, r, f.info.ModTime(), content, f.info.Size())
}

// keeping is what a client is told about keeping an answer: nothing that is seen in an emergency stays behind.
func keeping(grant token.Grant, usual string) string {
	if grant.Claims.Emergency != "" {
		return "private, no-store"
	}
	return usual
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

// elsewhere is until when a link leads to where a file is. One with claims is asked for again, and held against them, for the
// next part of the file.
func (s *Streamer) elsewhere(grant token.Grant) time.Time {
	if soon := s.Signer.Now().Add(oneFetch); grant.Sealed != "" && soon.Before(grant.ExpiresAt) {
		return soon
	}
	return grant.ExpiresAt
}

// oneFetch is how long a client may take to follow a redirect.
const oneFetch = time.Minute

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

// ActionAccess is what an entry tells of whose media are about to be served.
const ActionAccess = "media.accessed"

// note records an access before any byte of it goes out.
func (s *Streamer) note(r *http.Request, grant token.Grant, id vault.VideoID, name string) error {
	details := map[string]any{"method": r.Method}
	signedBy(details, grant.Claims)
	inEmergency(details, grant.Claims)
	if rng := r.Header.Get("Range"); rng != "" {
		details["range"] = rng[:min(len(rng), 64)]
	}
	err := s.Audit.Note(r.Context(), audit.Access, audit.Event{
		Action: ActionAccess, RequestID: web.RequestID(r), UserID: grant.Claims.User, Address: web.Client(r), VideoID: string(id), Path: name,
		Details: details,
	})
	if err != nil {
		return vault.Errorf(vault.Unavailable, "audit_unavailable", "the access cannot be recorded now, so nothing is served; try again").Because(err)
	}
	failpoint.Hit("stream/audited")
	return nil
}

func contentType(video facts, name string) string {
	if name == "original.mp4" {
		return video.contentType
	}
	if t := media.ContentType(name); t != "" {
		return t
	}
	return "application/octet-stream"
}
