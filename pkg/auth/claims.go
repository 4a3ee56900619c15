package auth

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// read makes a caller of what a genuine token says. Roles that are none of ours are somebody else's.
func (p *Provider) read(token *oidc.IDToken, now time.Time) (Caller, error) {
	var claims map[string]json.RawMessage
	var from struct {
		NotBefore float64 `json:"nbf"` // seconds, RFC 7519, section 4.1.5
	}
	if token.Claims(&claims) != nil || token.Claims(&from) != nil {
		return Caller{}, NotGenuine
	}
	if now.Add(skew).Before(time.Unix(int64(from.NotBefore), 0)) { // go-oidc allows for five minutes
		return Caller{}, NotYet
	}
	var name string
	if json.Unmarshal(claim(claims, p.cfg.NameClaim), &name) != nil || !ValidName(name) {
		return Caller{}, NoName
	}
	// Whoever may enter any address at a provider could take another's name.
	if verified, ok := claims["email_verified"]; ok && p.cfg.NameClaim == "email" && string(verified) != "true" {
		return Caller{}, NoName
	}
	return Caller{Name: name, Roles: rolesOf(claim(claims, p.cfg.RolesClaim))}, nil
}

// claim is the value of a claim, which is named whole or by a path through objects; nil if it is not there.
func claim(claims map[string]json.RawMessage, path string) json.RawMessage {
	if value, ok := claims[path]; ok {
		return value
	}
	first, rest, ok := strings.Cut(path, ".")
	var inner map[string]json.RawMessage
	if !ok || json.Unmarshal(claims[first], &inner) != nil {
		return nil
	}
	return claim(inner, rest)
}

// rolesOf are our roles in a claim: a list of names, or a string of names with spaces between them, as scope has them (RFC
// 8693, section 4.2).
func rolesOf(value json.RawMessage) (roles []Role) {
	var names []string
	var text string
	if json.Unmarshal(value, &names) != nil && json.Unmarshal(value, &text) == nil {
		names = strings.Fields(text)
	}
	for _, r := range Roles {
		if slices.Contains(names, string(r)) {
			roles = append(roles, r)
		}
	}
	return roles
}
