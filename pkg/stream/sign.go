// Package stream signs links to media and serves what they point at.
//
// A link is /media/videos/{videoId}/{path}?token=…, with a token of package token. Playlists are stored with plain
// relative URIs; on the way out each URI gets a token of its own, which lives as long as the one of the request plus the
// duration of the video, so that whoever was let in at the start may watch to the end. Where the media are in a bucket,
// the URI of a segment becomes a link to the bucket itself, for as long: the playlist is what is audited then. A storyboard is
// signed as playlists are, and its sheets are like segments.
//
// Where callers are asked who they are, a link is given to who may play the video only, and carries claims: who has signed it
// with which key, and where it is good. Playlists hand the claims on, and each request is held against them. So that it is,
// no link to a bucket is given for longer than one request there.
//
// A proxy before us that keeps files asks for each request, whether it has the file or not, by ServeAuthorize. See there.
package stream

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// Auditor keeps the record of who saw what: *audit.Log. An entry is written when Note returns, so that a crash of this
// process cannot lose it, and on disk soon after; it is on disk when Append returns.
type Auditor interface {
	Note(ctx context.Context, c audit.Category, e audit.Event) error
	Append(ctx context.Context, c audit.Category, e audit.Event) error
}

// Denials keeps the record of who was refused what, in the category auth. However many refusals there are, it writes no more
// entries than the log can bear, and says how many are left out.
type Denials interface {
	Denied(ctx context.Context, e audit.Event)
}

// Revocations tells whether an API key has been revoked. It is asked for every request for media, so it answers from memory.
type Revocations interface {
	Revoked(keyID string) bool
}

// Media is where the bytes are: a media.Store.
type Media interface {
	Open(ctx context.Context, key string) (media.Object, error)
	Stat(ctx context.Context, key string) (fs.FileInfo, error)
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
	Proofs     *token.Signer // of what proxies were told they may serve; nil if there are none
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

	// Lease is for how long it is taken for granted that a video which was there still is; 0 looks for every request. Whoever
	// removes one waits for longer before saying that it is gone (videos.Collection.Linger), so nobody who was told so by
	// DELETE gets anything of it any more.
	Lease time.Duration

	// Open says that nobody is asked who they are. Then links carry no claims, and one that does is refused, because its
	// signer cannot be checked. Otherwise links carry claims, and one that does not is refused.
	Open    bool
	Policy  auth.Policy
	Keys    Revocations // nil if no key is ever revoked
	Denials Denials     // nil records none
	Metrics *Metrics    // nil counts nothing

	forms   cache[*form] // by key
	records cache[seen]  // by the id of the video
	signed  sync.Pool    // of *[]byte, for playlists on their way out
}

// isID reports whether a link may be signed for an id, which may be that of no video where nobody is asked who they are.
func isID(s string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return s != "" && len(s) <= 64 && strings.Trim(s, letters) == ""
}

type signRequest struct {
	VideoID   string         `json:"videoId"`
	Path      string         `json:"path"`
	ExpiresIn *int64         `json:"expiresIn"` // seconds
	Bind      *string        `json:"bind"`      // "ip"
	Emergency map[string]any `json:"emergency"` // "reason": why
}

type signAnswer struct {
	URL       string `json:"url"`
	Token     string `json:"token"`
	ExpiresAt string `json:"expiresAt"` // RFC 3339
	ExpiresIn int64  `json:"expiresIn"` // seconds
}

// offer is a link that is about to be given.
type offer struct {
	signRequest
	expiresIn int64 // seconds
	expiresAt time.Time
	claims    token.Claims // zero where nobody is asked who they are
	reason    string       // of an emergency
	hadRight  bool         // whether the caller could have had the link without the emergency
}

// ServeSign answers POST /media/sign.
func (s *Streamer) ServeSign(w http.ResponseWriter, r *http.Request) error {
	var o offer
	if err := web.DecodeJSON(w, r, &o.signRequest); err != nil {
		return err
	}
	if err := s.checkSign(&o); err != nil {
		return err
	}
	var sealed token.Sealed
	if !s.Open {
		err := s.sanction(r, &o)
		if err == nil {
			sealed, err = s.Signer.Seal(o.claims)
		}
		if err != nil {
			return err
		}
	}
	o.expiresAt = s.Signer.Now().Add(time.Duration(o.expiresIn) * time.Second).UTC().Truncate(time.Second)
	if err := s.noteSigned(r, &o); err != nil {
		return vault.Errorf(vault.Unavailable, "audit_unavailable", "the access cannot be recorded now, so no link is given; try again").Because(err)
	}
	tok := s.Signer.Sign(sealed, o.VideoID, o.Path, o.expiresAt)
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, r, http.StatusOK, signAnswer{
		URL:   s.PublicPath + "/media/videos/" + o.VideoID + "/" + o.Path + "?token=" + tok,
		Token: tok, ExpiresAt: o.expiresAt.Format(time.RFC3339), ExpiresIn: o.expiresIn,
	})
	return nil
}

// checkSign refuses what nobody may have, and says how long the link is to live.
func (s *Streamer) checkSign(o *offer) error {
	if !isID(o.VideoID) {
		return vault.Errorf(vault.Invalid, "invalid_video_id", "videoId must be the id that POST /uploads/finalize answered with")
	}
	if !media.ValidPath(o.Path) {
		return vault.Errorf(vault.Invalid, "invalid_path", "path must name media of the video, such as hls/master.m3u8, original.mp4, metadata or renditions")
	}
	o.expiresIn = int64(s.Expiry / time.Second)
	if o.ExpiresIn != nil {
		o.expiresIn = *o.ExpiresIn
	}
	if most := int64(s.MaxExpiry / time.Second); o.expiresIn < 1 || o.expiresIn > most {
		return vault.Errorf(vault.Invalid, "invalid_expires_in", "expiresIn must be a whole number of seconds from 1 to %d", most)
	}
	if o.Bind != nil && *o.Bind != "ip" {
		return vault.Errorf(vault.Invalid, "invalid_bind", `bind must be "ip", or be left out`)
	}
	if s.Open && (o.Bind != nil || o.Emergency != nil) {
		return vault.Errorf(vault.Invalid, "authentication_off", "bind and emergency are for callers who say who they are, and AUTH_MODE is none here")
	}
	return s.checkEmergency(o)
}

// sanction asks whether the caller may have the link, and writes its claims. A video that the caller has nothing to do with
// is answered for like one that is not there.
func (s *Streamer) sanction(r *http.Request, o *offer) error {
	caller := auth.From(r.Context())
	id, err := vault.ParseVideoID(o.VideoID)
	if err != nil {
		return err
	}
	action := auth.Play
	if o.reason != "" {
		action = auth.Emergency
	}
	f, ok := s.leased(id)
	if !ok || !s.Policy.May(caller, action, f.owner) { // whoever is refused has had us look, or the time would tell what is there
		f, err = s.facts(r.Context(), id)
	}
	if err != nil && vault.KindOf(err) != vault.NotFound {
		return err
	}
	there := err == nil
	o.hadRight = there && s.Policy.May(caller, auth.Play, f.owner)
	if !there || !s.Policy.May(caller, action, f.owner) {
		reason := "not_yours"
		if !there {
			reason = "not_there"
		}
		s.denySign(r, o, caller, reason)
		return vault.NoVideo()
	}
	o.claims = token.Claims{KeyID: caller.KeyID, User: caller.UserID()}
	if o.Bind != nil {
		if o.claims.Bind = web.Client(r); o.claims.Bind == "" {
			return vault.Errorf(vault.Invalid, "address_unknown", "your address cannot be told here, so no link can be bound to it; leave bind out")
		}
	}
	if o.reason != "" {
		o.claims.Emergency = newEntryID()
	}
	return nil
}

// noteSigned records a link before it is given.
func (s *Streamer) noteSigned(r *http.Request, o *offer) error {
	details := map[string]any{"expiresAt": o.expiresAt}
	signedBy(details, o.claims)
	e := audit.Event{
		Action: "media.signed", RequestID: web.RequestID(r), UserID: o.claims.User, Address: web.Client(r), VideoID: o.VideoID, Path: o.Path,
		Details: details,
	}
	if o.reason != "" {
		return s.noteEmergency(r.Context(), o, e)
	}
	return s.Audit.Note(r.Context(), audit.Access, e)
}

// signedBy adds to an entry's details what claims say beside the signer's name. An address is not among it: entries have
// addresses in one place, where they are anonymised.
func signedBy(details map[string]any, c token.Claims) {
	if c.KeyID != "" {
		details["keyId"] = c.KeyID
	}
	if c.Bind != "" {
		details["bind"] = "ip"
	}
}
