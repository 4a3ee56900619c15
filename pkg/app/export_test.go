package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"

	"pulsevault/pkg/auth"
)

// ServeImpatiently is ServeHandler for a client that must take least bytes whenever its answer has waited for stall.
func ServeImpatiently(ctx context.Context, l net.Listener, stall time.Duration, least int64, h http.Handler) error {
	return serve(ctx, l, patience{stall, least}, h, slog.New(slog.DiscardHandler))
}

// Guard is the gate before a handler, with callers of the test's own.
func (a *App) Guard(callers auth.Authenticator, action auth.Action, h http.Handler) http.Handler {
	g := a.gate
	g.callers = callers
	return a.observer.Wrap(g.guard(action, h))
}

// FlushDenials ends a minute of refusals.
func (a *App) FlushDenials() { a.denials.Flush() }

// Proxy answers REST events as the functions named do.
func (a *App) Proxy(functions ...string) *httpadapter.HandlerAdapter {
	return httpadapter.New(undeadlined(a.Handler(functions...)))
}

// Config is what the App was made from.
func (a *App) Config() Config { return a.config }
