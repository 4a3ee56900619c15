package app

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// userHeader names whom a service acts for.
const userHeader = "X-User-Id"

// gate stands before every route: it asks who is calling, and refuses who may not even do there what they may do to their own
// things. Whose things a request is about, the stages ask.
type gate struct {
	callers auth.Authenticator
	policy  auth.Policy
	denials denier
}

// denier keeps the record of who was refused what: *denials.
type denier interface {
	Denied(ctx context.Context, e audit.Event)
}

// guard returns h behind the gate. Where the action is none of the table, nobody gets in.
func (g gate) guard(action auth.Action, h http.Handler) http.Handler {
	if action == auth.Public {
		return h
	}
	return web.Handler(func(w http.ResponseWriter, r *http.Request) error {
		c, err := g.admit(r, action)
		if err != nil {
			if vault.KindOf(err) == vault.Unauthorized {
				w.Header().Set("WWW-Authenticate", "Bearer")
			}
			return err
		}
		h.ServeHTTP(w, r.WithContext(auth.With(r.Context(), c)))
		return nil
	})
}

// guardUploads is guard, but what a server can do is public: tus asks for it by OPTIONS.
func (g gate) guardUploads(action auth.Action, h http.Handler) http.Handler {
	guarded := g.guard(action, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			h.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

func (g gate) admit(r *http.Request, action auth.Action) (auth.Caller, error) {
	c, err := g.callers.Authenticate(r.Context(), credential(r))
	var refusal auth.Refusal
	switch {
	case errors.As(err, &refusal):
		g.denied(r, c, action, string(refusal))
		return c, vault.Errorf(vault.Unauthorized, "unauthenticated",
			"this address wants to know who you are: send Authorization: Bearer and a valid API key or token").Because(err)
	case err != nil:
		return c, err
	}
	if !slices.Contains(auth.Actions, action) || !g.policy.MayAny(c, action) {
		g.denied(r, c, action, "role")
		return c, vault.Errorf(vault.Forbidden, "forbidden", "your roles do not allow that")
	}
	if c.Open() {
		return c, nil
	}
	return g.named(r, c, action)
}

// named is the caller as it acts for whom the request's header names.
func (g gate) named(r *http.Request, c auth.Caller, action auth.Action) (auth.Caller, error) {
	names := r.Header.Values(userHeader)
	if len(names) > 1 || len(names) == 1 && !auth.ValidName(names[0]) {
		return c, vault.Errorf(vault.Invalid, "invalid_user_id", "%s must be one name of at most 128 characters, without control characters or spaces at its ends", userHeader)
	}
	if len(names) == 0 {
		return c, nil
	}
	named, err := g.policy.Named(c, names[0])
	if err != nil {
		g.denied(r, c, action, "not_your_name")
	}
	return named, err
}

func (g gate) denied(r *http.Request, c auth.Caller, action auth.Action, reason string) {
	details := map[string]any{"reason": reason, "for": action}
	c.Explain(c.UserID(), details)
	g.denials.Denied(r.Context(), audit.Event{
		Action: "request.denied", RequestID: web.RequestID(r), UserID: c.UserID(), Address: web.Client(r), Details: details,
	})
}

// credential is what the request shows to say who makes it (RFC 6750, section 2.1): empty if it shows nothing, or more than
// one thing. The name of the scheme may be in any letter case (RFC 9110, section 11.1).
func credential(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, value, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(value, " ")
}
