package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"
)

const (
	headerTimeout  = 10 * time.Second // for a request's headers to arrive
	idleTimeout    = 2 * time.Minute  // between two requests of a connection
	maxHeaderBytes = 64 << 10
	// Requests that are being answered at shutdown get finishTimeout. Uploads that last longer are then told to stop, keep
	// what has arrived, and get saveTimeout to do so.
	finishTimeout = 10 * time.Second
	saveTimeout   = 5 * time.Second
)

// Serve answers requests that come in through l until ctx ends, and then finishes those under way.
func (a *App) Serve(ctx context.Context, l net.Listener) error {
	return ServeHandler(ctx, l, a.Handler(Functions...), a.Log)
}

// ServeHandler has h answer what comes in through l until ctx ends, and then finishes the requests under way.
func ServeHandler(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	requests, stopRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopRequests(nil)
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.InfoContext(ctx, "stopping: no new requests, those under way are finished")
	return shutdown(ctx, server, stopRequests)
}

func shutdown(ctx context.Context, server *http.Server, stopRequests context.CancelCauseFunc) error {
	ctx = context.WithoutCancel(ctx)
	finish, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	err := server.Shutdown(finish)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	stopRequests(handler.ErrServerShutdown)
	save, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := server.Shutdown(save); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}
