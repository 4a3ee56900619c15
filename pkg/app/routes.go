package app

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rs/cors"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/web"
)

// The functions: each is a set of routes that is deployed on its own.
const (
	Upload   = "upload"
	Finalize = "finalize"
	Sign     = "sign"
	Stream   = "stream"
	Videos   = "videos"
	Health   = "health"
)

// Internal is the set of routes that is for a proxy before the server, and no function.
const Internal = "internal"

// Functions lists every HTTP function.
var Functions = []string{Upload, Finalize, Sign, Stream, Videos, Health}

// Server lists all that the long-lived server answers for.
var Server = append(slices.Clone(Functions), Internal)

// Route is an address that a function answers to. HEAD goes with GET, and OPTIONS where tus or CORS asks for it.
type Route struct {
	Function string
	Methods  []string
	Path     string // as an AWS SAM template writes it: {one} segment, or {the+} rest
	Action   auth.Action
}

// Routes lists every address. Templates, proxies and documentation must have the same ones; a test compares.
func Routes() []Route {
	return []Route{
		{Upload, []string{"POST"}, "/uploads", auth.Upload},
		{Upload, []string{"HEAD", "PATCH", "DELETE"}, "/uploads/{id}", auth.Upload},
		{Upload, []string{"GET"}, "/uploads/status/{id}", auth.Upload},
		{Finalize, []string{"POST"}, "/uploads/finalize", auth.Upload},
		{Sign, []string{"POST"}, "/media/sign", auth.Play},
		{Stream, []string{"GET"}, "/media/videos/{id}/{path+}", auth.Public},
		{Videos, []string{"GET"}, "/videos", auth.ListVideos},
		{Videos, []string{"GET", "DELETE"}, "/videos/{id}", auth.ReadVideo}, // who may delete, the stage asks
		{Health, []string{"GET"}, "/", auth.Public},
		{Health, []string{"GET"}, "/healthz", auth.Public},
		{Health, []string{"GET"}, "/readyz", auth.Public},
		{Internal, []string{"GET"}, "/internal/media/authorize", auth.Public}, // to trusted proxies; to others it is not there
	}
}

// handlers are what answers, by path. tusd looks at methods itself.
func (a *App) handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/uploads":                   a.uploads,
		"/uploads/{id}":              a.uploads,
		"/uploads/status/{id}":       web.Handler(a.uploads.Status),
		"/uploads/finalize":          web.Handler(a.finalizer.ServeFinalize),
		"/media/sign":                web.Handler(a.streamer.ServeSign),
		"/media/videos/{id}/{path+}": web.Handler(a.streamer.ServeMedia),
		"/videos":                    web.Handler(a.collection.ServeList),
		"/videos/{id}":               web.Methods{"GET": web.Handler(a.collection.ServeOne), "HEAD": web.Handler(a.collection.ServeOne), "DELETE": web.Handler(a.collection.ServeDelete)},
		"/":                          web.Handler(a.serveRoot),
		"/healthz":                   web.Handler(serveHealth),
		"/readyz":                    web.Handler(a.serveReady),
		"/internal/media/authorize":  web.Handler(a.streamer.ServeAuthorize),
	}
}

// Handler answers for the functions named, as one host does.
func (a *App) Handler(functions ...string) http.Handler {
	mux := http.NewServeMux()
	handlers := a.handlers()
	for _, r := range Routes() {
		if slices.Contains(functions, r.Function) {
			h := handlers[r.Path]
			if h == a.uploads {
				h = a.gate.guardUploads(r.Action, h)
			} else {
				h = allow(r.Methods, a.gate.guard(r.Action, h))
			}
			mux.Handle(pattern(r.Path), h)
		}
	}
	if slices.Contains(functions, Upload) {
		mux.Handle("/uploads/{$}", a.gate.guardUploads(auth.Upload, a.uploads))
	}
	mux.Handle("/", web.Handler(web.NotFound))
	mux.Handle("/media/videos/{id}", web.Handler(web.NotFound)) // or the mux would redirect to the pattern below it
	if a.config.MetricsEnabled {
		a.handleMetrics(mux)
	}
	return a.observer.Wrap(a.allowOrigins(mux))
}

// pattern is a route's path as http.ServeMux writes it.
func pattern(path string) string {
	if path == "/" {
		return "/{$}"
	}
	return strings.ReplaceAll(path, "+}", "...}")
}

func allow(methods []string, h http.Handler) web.Methods {
	allowed := web.Methods{}
	for _, method := range methods {
		allowed[method] = h
		if method == "GET" {
			allowed["HEAD"] = h
		}
	}
	return allowed
}

// tusHeaders are the headers that a tus client in a browser sends and reads.
var tusHeaders = []string{
	"Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm", "Upload-Offset", "Upload-Length",
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
			"Authorization", userHeader, "Content-Type", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "X-Request-Id",
			"X-HTTP-Method-Override", "Upload-Checksum",
		}, tusHeaders...),
		ExposedHeaders: append([]string{"Content-Range", "Accept-Ranges", "ETag", "X-Request-Id", "Retry-After", "WWW-Authenticate"}, tusHeaders...),
		MaxAge:         86400,
	}).Handler(h)
}
