// Package auth knows who is calling and what they may do. It does not know what is asked for: a route names the Action
// that it is, a stage names the owner of what it is about to touch, and the one table below answers.
package auth

import (
	"cmp"
	"context"
	"slices"
)

// Role is what a caller is to PulseVault. A caller may have several.
type Role string

// The roles.
const (
	Uploader Role = "uploader" // uploads, and has to do with what it has uploaded only
	Viewer   Role = "viewer"   // plays every video
	Service  Role = "service"  // another program, which acts for the people who use it
	Admin    Role = "admin"
)

// Roles lists every role.
var Roles = []Role{Uploader, Viewer, Service, Admin}

// Caller is who makes a request. The zero value may do nothing.
type Caller struct {
	Name  string // the userId of everything that the caller does
	Roles []Role
	KeyID string // of the API key it has shown, empty if it has shown none
	For   string // whom it has named to act for; empty is for itself
	open  bool   // nobody is asked who they are
}

// Anybody is who calls where AUTH_MODE is none: it may do everything, in whatever name it likes.
var Anybody = Caller{open: true}

// Open reports whether callers are not asked who they are.
func (c Caller) Open() bool { return c.open }

// Has reports whether the caller has a role.
func (c Caller) Has(r Role) bool { return slices.Contains(c.Roles, r) }

// UserID is in whose name the caller acts: whose things are what it makes. It is empty where nobody is asked who they are.
func (c Caller) UserID() string { return cmp.Or(c.For, c.Name) }

// Explain adds to the details of an audit entry under a userId who has acted, if that is somebody else, and with which key.
func (c Caller) Explain(userID string, details map[string]any) {
	if c.Name != "" && c.Name != userID {
		details["actor"] = c.Name
	}
	if c.KeyID != "" {
		details["keyId"] = c.KeyID
	}
}

type callerKey struct{}

// With returns a context in which c is the caller.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns the caller of a request. Where nobody was let in it may do nothing.
func From(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
