package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
	"github.com/prometheus/client_golang/prometheus"

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

// Volumes shows the rooms of folders that room tells.
func Volumes(room func(dir string) (size, free int64, ok bool), folders ...string) prometheus.Collector {
	var vs volumeCollector
	for _, f := range folders {
		vs = append(vs, &volume{folder: f, path: f, room: room})
	}
	return vs
}

// Config is what the App was made from.
func (a *App) Config() Config { return a.config }
