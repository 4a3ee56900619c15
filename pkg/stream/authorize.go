package stream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// What a proxy says in its question, and hears in the answer.
const (
	uriHeader    = "X-Original-URI"    // of the request that it has got, as it came: path and query
	methodHeader = "X-Original-Method" // likewise
	lengthHeader = "X-Media-Length"    // of the file, in bytes
	rangeHeader  = "X-Media-Range"     // "plain" if none is asked for, or one of the usual form that is there
	reasonHeader = "X-Refused-With"    // the status that we would have answered the request with

	// ProofHeader carries a proof, in the answer, and then in the request for the bytes.
	ProofHeader = "X-Media-Proof"
)

// ProofUse derives the secret for proofs from that for links.
const ProofUse = "pulsevault media proof"

// proofLife is how long a proxy may take from the answer until its request for the bytes is here.
const proofLife = 10 * time.Second

// ServeAuthorize answers a proxy that keeps files and asks whether it may serve one, for each request for it: what stands
// before the bytes in ServeMedia is done here, by the same code, the audit entry included. So the request, and no byte of it
// comes from a cache without that, is answered for as if we had served it.
//
// The answer is 204, 401 or 403, because that is all that proxies understand. With 403, X-Refused-With tells the status that
// the request itself is to be answered with: 404, or 503 where it cannot be told now. With 204 come the length of the file, its
// ETag, which a cache must have in its key, the Cache-Control that is for this client, and whether the range asked for is plain:
// proxies differ in how they answer others. And there comes a proof: a token of package token for the video and path, under a
// secret of its own, that is good for ten seconds. With it in X-Media-Proof the proxy fetches the bytes that it lacks; they are
// not on record twice. What is made for whoever asks, such as playlists, is none of this: the proxy hands requests for it on,
// and is answered 403 and 404 if it asks.
//
// Only trusted proxies are answered. For everybody else there is nothing here.
func (s *Streamer) ServeAuthorize(w http.ResponseWriter, r *http.Request) error {
	if s.Proofs == nil || !web.FromProxy(r) {
		return web.NotFound(w, r)
	}
	err := s.authorize(w.Header(), r)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case vault.KindOf(err) == vault.Unauthorized:
		return err
	}
	status := http.StatusNotFound
	if vault.KindOf(err) != vault.NotFound {
		status = http.StatusServiceUnavailable
		web.Logger(r).ErrorContext(r.Context(), "nobody can be told whether a file may be served", "error", err)
	}
	w.Header().Set(reasonHeader, fmt.Sprint(status))
	return vault.Errorf(vault.Forbidden, "not_to_be_served", "X-Refused-With is the status of the answer").Because(err)
}

// authorize admits the request that a proxy asks about, and says in h how it is to be served.
func (s *Streamer) authorize(h http.Header, r *http.Request) error {
	original, videoID, name, err := originalRequest(r)
	if err != nil {
		return err
	}
	grant, err := s.admit(original, videoID, name)
	if err != nil {
		return err
	}
	id, err := vault.ParseVideoID(videoID)
	if err != nil || !media.ValidPath(name) || !isFile(name) {
		return errNoMedia()
	}
	info, err := s.look(r.Context(), id, name)
	if err != nil {
		return err
	}
	if err := s.note(original, grant, id, name); err != nil {
		return err
	}
	h.Set("ETag", etag(info))
	h.Set("Cache-Control", keeping(grant, media.CacheControl))
	h.Set(lengthHeader, strconv.FormatInt(info.Size(), 10))
	if plainRange(r.Header.Get("Range"), info.Size()) {
		h.Set(rangeHeader, "plain")
	}
	h.Set(ProofHeader, s.Proofs.Sign("", videoID, name, s.Proofs.Now().Add(proofLife)))
	return nil
}

// look looks at a file of a video that is there.
func (s *Streamer) look(ctx context.Context, id vault.VideoID, name string) (fs.FileInfo, error) {
	if _, err := s.served(ctx, id); err != nil {
		return nil, err
	}
	info, err := s.Media.Stat(ctx, media.VideoKey(id)+"/"+name)
	if err != nil {
		return nil, unread("look at media", name, err)
	}
	return info, nil
}

// originalRequest is the request that a proxy has got, which differs from its question in method and address only.
func originalRequest(r *http.Request) (original *http.Request, videoID, name string, err error) {
	u, err := url.ParseRequestURI(r.Header.Get(uriHeader))
	if err != nil || !web.PlainPath(u) {
		return nil, "", "", errNoMedia()
	}
	rest, ok := strings.CutPrefix(u.Path, "/media/videos/")
	videoID, name, inside := strings.Cut(rest, "/")
	method := r.Header.Get(methodHeader)
	if !ok || !inside || method != http.MethodGet && method != http.MethodHead {
		return nil, "", "", errNoMedia()
	}
	original = r.WithContext(r.Context()) // a copy
	original.Method, original.URL = method, u
	return original, videoID, name, nil
}

// serveProven answers a proxy that was told it may serve a file, and lacks it. All was asked and recorded then.
func (s *Streamer) serveProven(w http.ResponseWriter, r *http.Request, videoID, name, proof string) error {
	if _, err := s.Proofs.Verify(proof, videoID, name); err != nil {
		reason := "proof_not_genuine"
		if errors.Is(err, token.ErrEnded) {
			reason = "proof_ended"
		}
		return s.refuse(r, token.Grant{}, videoID, name, reason)
	}
	id, err := vault.ParseVideoID(videoID)
	if err != nil {
		return errNoMedia()
	}
	f, err := s.open(r.Context(), id, name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	f.send(w, r, media.CacheControl)
	return nil
}
