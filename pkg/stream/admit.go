package stream

import (
	"errors"
	"net/http"
	"net/url"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// admit lets a request through whose token is good for exactly this path, here and now. Whatever is wrong, the answer is the
// same; what it was stands in the audit log only.
func (s *Streamer) admit(r *http.Request, videoID, path string) (token.Grant, error) {
	var tok string
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err == nil && len(query["token"]) == 1 {
		tok = query.Get("token")
	}
	grant, err := s.Signer.Verify(tok, videoID, path)
	if reason := s.objection(r, grant, err); reason != "" {
		return token.Grant{}, s.refuse(r, grant, videoID, path, reason)
	}
	return grant, nil
}

// refuse records why a request for media is refused, and returns what it is answered with.
func (s *Streamer) refuse(r *http.Request, grant token.Grant, videoID, path, reason string) error {
	s.denyLink(r, grant, videoID, path, reason)
	return vault.Errorf(vault.Unauthorized, "invalid_token", "the link is not valid or has expired; ask for a new one with POST /media/sign")
}

// objection is why a link is refused, empty if it is not. err is what Verify said of its token.
func (s *Streamer) objection(r *http.Request, grant token.Grant, err error) string {
	c := grant.Claims
	switch {
	case errors.Is(err, token.ErrEnded):
		return "expired"
	case err != nil:
		return "not_genuine"
	case s.Open && grant.Sealed != "":
		return "signer_unchecked"
	case !s.Open && grant.Sealed == "":
		return "no_signer"
	case c.KeyID != "" && s.Keys != nil && s.Keys.Revoked(c.KeyID):
		return "key_revoked"
	case c.Bind != "" && c.Bind != web.Client(r):
		return "bound_elsewhere"
	}
	return ""
}

// denyLink records that a link was refused, under its signer's name where it is a link of ours.
func (s *Streamer) denyLink(r *http.Request, grant token.Grant, videoID, path, reason string) {
	if s.Denials == nil {
		return
	}
	e := audit.Event{
		Action: "media.denied", RequestID: web.RequestID(r), UserID: grant.Claims.User, Address: web.Client(r),
		Details: map[string]any{"reason": reason, "method": r.Method},
	}
	// What else stands in the address anybody may have made up, at any length.
	if id, err := vault.ParseVideoID(videoID); err == nil && media.ValidPath(path) && len(path) <= maxNamed {
		e.VideoID, e.Path = string(id), path
	}
	signedBy(e.Details, grant.Claims)
	inEmergency(e.Details, grant.Claims)
	s.Denials.Denied(r.Context(), e)
}

// maxNamed is how long a path is, in bytes, that a refusal names.
const maxNamed = 128

// denySign records that a link was not given.
func (s *Streamer) denySign(r *http.Request, o *offer, caller auth.Caller, reason string) {
	if s.Denials == nil {
		return
	}
	e := audit.Event{
		Action: "sign.denied", RequestID: web.RequestID(r), UserID: caller.UserID(), Address: web.Client(r), VideoID: o.VideoID,
		Details: map[string]any{"reason": reason},
	}
	if len(o.Path) <= maxNamed {
		e.Path = o.Path
	}
	signedBy(e.Details, token.Claims{KeyID: caller.KeyID})
	s.Denials.Denied(r.Context(), e)
}

func inEmergency(details map[string]any, c token.Claims) {
	if c.Emergency != "" {
		details["emergency"] = c.Emergency
	}
}
