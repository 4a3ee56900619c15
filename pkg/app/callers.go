package app

import (
	"context"

	"pulsevault/pkg/auth"
)

// openGate decides how callers say who they are.
func (a *App) openGate(context.Context) error {
	a.denials = &denials{log: a.Log, append: a.audit.Append}
	a.gate = gate{callers: auth.Nobody{}, policy: auth.Policy{}, denials: a.denials}
	return nil
}
