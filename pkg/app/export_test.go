package app

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// ServeImpatiently is ServeHandler for a client that must take least bytes whenever its answer has waited for stall.
func ServeImpatiently(ctx context.Context, l net.Listener, stall time.Duration, least int64, h http.Handler) error {
	return serve(ctx, l, patience{stall, least}, h, slog.New(slog.DiscardHandler))
}
