package auth

import (
	"context"

	"pulsevault/pkg/vault"
)

// Authenticator tells who makes a request. Any number of goroutines may ask it at once.
type Authenticator interface {
	// Authenticate returns the caller to whom a credential belongs: what follows Bearer in the header Authorization (RFC 6750,
	// section 2.1). One that belongs to nobody is a Refusal. A vault.Error of the kind Unavailable says that it cannot be told
	// now, and nobody is let in meanwhile.
	Authenticate(ctx context.Context, credential string) (Caller, error)
}

// Refusal is why a credential was not accepted, as it stands in the audit log. Callers are not told.
type Refusal string

// The refusals. None tells how much of a credential was right.
const (
	NoCredential Refusal = "no_credential"
	Malformed    Refusal = "malformed"
	UnknownKey   Refusal = "unknown_key"
	KeyExpired   Refusal = "key_expired"
	KeyRevoked   Refusal = "key_revoked"
	NotGenuine   Refusal = "not_genuine" // a token that the provider has not signed, or for somebody else
	TokenExpired Refusal = "token_expired"
	NotYet       Refusal = "not_valid_yet"
	NoName       Refusal = "no_name" // a genuine token that names nobody
)

func (r Refusal) Error() string { return "auth: " + string(r) }

// Nobody is an Authenticator that asks nobody who they are.
type Nobody struct{}

// Authenticate returns Anybody, whatever the credential is.
func (Nobody) Authenticate(context.Context, string) (Caller, error) { return Anybody, nil }

// Named returns the caller as it acts in a claimed name: empty is no claim. Who may not act for others is refused with
// another name than its own. Where nobody is asked who they are, every name is taken.
func (p Policy) Named(c Caller, claimed string) (Caller, error) {
	switch {
	case claimed == "":
		return c, nil
	case c.open, claimed == c.UserID(), c.For == "" && p.MayAll(c, ActFor):
		c.For = claimed
		return c, nil
	}
	return c, vault.Errorf(vault.Forbidden, "not_your_name", "userId and X-User-Id may name nobody but yourself; only callers with the role service act for others")
}
