package app

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"

	"pulsevault/pkg/web"
)

// The functions: each is a set of routes that is deployed on its own.
const (
	Upload   = "upload"
	Finalize = "finalize"
	Sign     = "sign"
	Stream   = "stream"
	Health   = "health"
)

// Functions lists every HTTP function.
var Functions = []string{Upload, Finalize, Sign, Stream, Health}

// routes maps the path patterns of each function to their methods.
func (a *App) routes() map[string]map[string]http.Handler {
	tus, s := a.uploads, a.streamer
	return map[string]map[string]http.Handler{
		Upload: {
			"/uploads":             tus,
			"/uploads/{$}":         tus,
			"/uploads/{id}":        tus,
			"/uploads/status/{id}": web.Methods{"GET": web.Handler(tus.Status), "HEAD": web.Handler(tus.Status)},
		},
		Finalize: {"/uploads/finalize": web.Methods{"POST": web.Handler(a.finalizer.ServeFinalize)}},
		Sign:     {"/media/sign": web.Methods{"POST": web.Handler(s.ServeSign)}},
		Stream: {
			"/media/videos/{id}/{path...}": web.Methods{"GET": web.Handler(s.ServeMedia), "HEAD": web.Handler(s.ServeMedia)},
		},
		Health: {
			"/{$}":     web.Methods{"GET": web.Handler(a.serveRoot), "HEAD": web.Handler(a.serveRoot)},
			"/healthz": web.Methods{"GET": web.Handler(serveHealth), "HEAD": web.Handler(serveHealth)},
			"/readyz":  web.Methods{"GET": web.Handler(a.serveReady), "HEAD": web.Handler(a.serveReady)},
		},
	}
}

// Handler answers for the functions named, as one host does.
func (a *App) Handler(functions ...string) http.Handler {
	mux := http.NewServeMux()
	routes := a.routes()
	for _, name := range functions {
		for pattern, h := range routes[name] {
			mux.Handle(pattern, h)
		}
	}
	mux.Handle("/", web.Handler(web.NotFound))
	mux.Handle("/media/videos/{id}", web.Handler(web.NotFound)) // or the mux would redirect to the pattern below it
	if a.config.MetricsEnabled {
		mux.Handle("/metrics", web.Methods{"GET": promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{
			ErrorHandling: promhttp.ContinueOnError, Registry: a.Registry,
		})})
	}
	return a.observer.Wrap(a.allowOrigins(mux))
}

// tusHeaders are the headers that a tus client in a browser sends and reads.
var tusHeaders = []string{
	"Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Upload-Offset", "Upload-Length",
	"Upload-Metadata", "Upload-Expires", "Upload-Defer-Length",
}

// allowOrigins lets pages of CORS_ORIGINS use the API. Credentials are never asked for: links carry their token.
func (a *App) allowOrigins(h http.Handler) http.Handler {
	if len(a.config.CORSOrigins) == 0 {
		return h
	}
	return cors.New(cors.Options{
		AllowedOrigins: a.config.CORSOrigins,
		AllowedMethods: []string{"GET", "HEAD", "POST", "PATCH", "DELETE"},
		AllowedHeaders: append([]string{
			"Authorization", "Content-Type", "Range", "If-Range", "If-None-Match", "If-Modified-Since", "X-Request-Id",
			"X-HTTP-Method-Override", "Upload-Checksum",
		}, tusHeaders...),
		ExposedHeaders: append([]string{"Content-Range", "Accept-Ranges", "ETag", "X-Request-Id", "Retry-After"}, tusHeaders...),
		MaxAge:         86400,
	}).Handler(h)
}
