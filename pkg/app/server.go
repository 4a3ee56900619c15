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
	// An answer that waits for its client looks every stallTime whether that has taken leastTaken bytes: about 270 in a second.
	stallTime  = 30 * time.Second
	leastTaken = 8 << 10
	// Requests that are being answered at shutdown get finishTimeout. Uploads that last longer are then told to stop, keep
	// what has arrived, and get saveTimeout to do so.
	finishTimeout = 10 * time.Second
	saveTimeout   = 5 * time.Second
)

// ShutdownTime is what a server takes at most to end. Whoever ends it must not kill it before that.
const ShutdownTime = finishTimeout + saveTimeout

// Serve answers requests that come in through l until ctx ends, and then finishes those under way.
func (a *App) Serve(ctx context.Context, l net.Listener) error {
	return ServeHandler(ctx, l, a.Handler(Server...), a.Log)
}

// ServeHandler has h answer what comes in through l until ctx ends, and then finishes the requests under way.
func ServeHandler(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	return serve(ctx, l, patience{stallTime, leastTaken}, h, log)
}

func serve(ctx context.Context, l net.Listener, p patience, h http.Handler, log *slog.Logger) error {
	requests, stopRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopRequests(nil)
	server := &http.Server{
		Handler:           answering(h),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return requests },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
		ConnState: func(c net.Conn, s http.ConnState) {
			if c, ok := c.(*connection); ok && s == http.StateIdle {
				c.answering.Store(false)
			}
		},
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true, // OPTIONS * is answered as every other address that is none
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener{l, p}) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.InfoContext(ctx, "stopping: no new requests, those under way are finished")
	return shutdown(ctx, server, stopRequests)
}

type connectionKey struct{}

// answering tells a connection that what is written to it now answers a request.
func answering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			c.answering.Store(true)
			w = reply{w, c}
		}
		h.ServeHTTP(w, r)
	})
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
