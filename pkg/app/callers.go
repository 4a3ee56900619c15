package app

import (
	"context"

	"pulsevault/pkg/auth"
)

// openGate decides how callers say who they are.
func (a *App) openGate(ctx context.Context) error {
	c := a.config
	a.denials = &denials{log: a.Log, append: a.audit.Append}
	a.keys = a.keyring()
	a.gate = gate{callers: auth.Nobody{}, policy: auth.Policy{OwnerDelete: c.OwnerDelete}, denials: a.denials}
	switch c.AuthMode {
	case AuthAPIKey:
		a.gate.callers = a.keys
	case AuthOIDC:
		a.gate.callers = auth.NewProvider(auth.ProviderConfig{
			Issuer: c.OIDC.Issuer, Audience: c.OIDC.Audience, RolesClaim: c.OIDC.RolesClaim, NameClaim: c.OIDC.NameClaim, Log: a.Log,
		})
	case AuthNone:
		if c.Production {
			a.Log.WarnContext(ctx, unauthenticated, "AUTH_MODE", c.AuthMode)
		}
	}
	return nil
}

// unauthenticated is what operators are told where they have allowed it in production.
const unauthenticated = "nobody is asked who they are: everybody who reaches this server may see and do everything"
