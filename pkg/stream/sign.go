// Package stream signs links to media and serves what they point at.
//
// A link is /media/videos/{videoId}/{path}?token=…, with a token of package token. Playlists are stored with plain
// relative URIs; on the way out each URI gets a token of its own, which lives as long as the one of the request plus the
// duration of the video, so that whoever was let in at the start may watch to the end. Where the media are in a bucket,
// the URI of a segment becomes a link to the bucket itself, for as long: the playlist is what is audited then. A storyboard is
// signed as playlists are, and its sheets are like segments.
package stream

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// Auditor keeps the record of who saw what: *audit.Log. An entry is written when Note returns, so that a crash of this
// process cannot lose it, and on disk soon after.
type Auditor interface {
	Note(ctx context.Context, c audit.Category, e audit.Event) error
}

// Media is where the bytes are: a media.Store.
type Media interface {
	Open(ctx context.Context, key string) (media.Object, error)
	Read(ctx context.Context, key string) (data []byte, version string, err error)
	Stamp(ctx context.Context, key string) (version string, err error)
}

// Videos tells about videos: *metadata.Store.
type Videos interface {
	Get(ctx context.Context, id vault.VideoID) (vault.Video, error)
	Public(ctx context.Context, id vault.VideoID) ([]byte, error)
}

// Progress tells how far a transcode is, as a fraction; the second result is false when nobody knows.
type Progress interface {
	Progress(ctx context.Context, id vault.VideoID) (float64, bool)
}

// Streamer signs links and serves media.
type Streamer struct {
	Signer     *token.Signer
	Media      Media
	Links      media.Linker // where segments can be fetched without us; nil if nowhere
	MaxDirect  int64        // bytes of a file that goes out through us, if there are Links; 0 sets no limit
	Videos     Videos
	Progress   Progress
	Audit      Auditor
	Expiry     time.Duration // of a link when the request names none
	MaxExpiry  time.Duration
	PublicPath string // goes in front of links
	Log        *slog.Logger

	types     typeCache
	forms     cache[*form]         // by key
	durations cache[time.Duration] // by the key of the record
	signed    sync.Pool            // of *[]byte, for playlists on their way out
}

// The id of a link that is only signed, and not looked up.
var idForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

type signRequest struct {
	VideoID   string `json:"videoId"`
	Path      string `json:"path"`
	ExpiresIn *int64 `json:"expiresIn"` // seconds
}

type signAnswer struct {
	URL       string `json:"url"`
	Token     string `json:"token"`
	ExpiresAt string `json:"expiresAt"` // RFC 3339
	ExpiresIn int64  `json:"expiresIn"` // seconds
}

// ServeSign answers POST /media/sign.
func (s *Streamer) ServeSign(w http.ResponseWriter, r *http.Request) error {
	var req signRequest
	if err := web.DecodeJSON(w, r, &req); err != nil {
		return err
	}
	expiresIn := int64(s.Expiry / time.Second)
	if req.ExpiresIn != nil {
		expiresIn = *req.ExpiresIn
	}
	if err := s.checkSign(req, expiresIn); err != nil {
		return err
	}
	expiresAt := s.Signer.Now().Add(time.Duration(expiresIn) * time.Second).UTC().Truncate(time.Second)
	err := s.Audit.Note(r.Context(), audit.Access, audit.Event{
		Action: "media.signed", RequestID: web.RequestID(r), Address: web.Client(r), VideoID: req.VideoID, Path: req.Path,
		Details: map[string]any{"expiresAt": expiresAt},
	})
	if err != nil {
		return vault.Errorf(vault.Unavailable, "audit_unavailable", "the access cannot be recorded now, so no link is given; try again").Because(err)
	}
	tok := s.Signer.Sign("", req.VideoID, req.Path, expiresAt)
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, r, http.StatusOK, signAnswer{
		URL:   s.PublicPath + "/media/videos/" + req.VideoID + "/" + req.Path + "?token=" + tok,
		Token: tok, ExpiresAt: expiresAt.Format(time.RFC3339), ExpiresIn: expiresIn,
	})
	return nil
}

func (s *Streamer) checkSign(req signRequest, expiresIn int64) error {
	if !idForm.MatchString(req.VideoID) {
		return vault.Errorf(vault.Invalid, "invalid_video_id", "videoId must be the id that POST /uploads/finalize answered with")
	}
	if !media.ValidPath(req.Path) {
		return vault.Errorf(vault.Invalid, "invalid_path", "path must name media of the video, such as hls/master.m3u8, original.mp4, metadata or renditions")
	}
	if most := int64(s.MaxExpiry / time.Second); expiresIn < 1 || expiresIn > most {
		return vault.Errorf(vault.Invalid, "invalid_expires_in", "expiresIn must be a whole number of seconds from 1 to %d", most)
	}
	return nil
}

// authorize lets a request through whose token is good for exactly this path. Whatever is wrong, the answer is the same
// and takes the same time.
func (s *Streamer) authorize(r *http.Request, videoID, path string) (expiresAt time.Time, err error) {
	var tok string
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil && len(query["token"]) == 1 {
		tok = query.Get("token")
	}
	grant, err := s.Signer.Verify(tok, videoID, path)
	if err != nil || grant.Sealed != "" { // nobody here could check a key
		return expiresAt, vault.Errorf(vault.Unauthorized, "invalid_token", "the link is not valid or has expired; ask for a new one with POST /media/sign")
	}
	return grant.ExpiresAt, nil
}
