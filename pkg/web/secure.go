package web

import "net/http"

// The headers that tell a browser what it may not do with an answer. Each request shares the values: nobody may write to them.
var (
	noSniffing  = []string{"nosniff"}
	noReferrer  = []string{"no-referrer"} // links carry tokens
	noFrames    = []string{"DENY"}
	sameOrigin  = []string{"same-origin"}
	crossOrigin = []string{"cross-origin"}
	// An answer of the API is no document. A video or a picture that is opened by itself is one of a browser's own making,
	// which shows nothing but what it was opened for.
	apiPolicy = []string{"default-src 'none'; img-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	// At / stands what may be a page: scripts, styles and media of this server, and what a player makes of them in memory.
	pagePolicy = []string{"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; " +
		"media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
	// A year (RFC 6797, section 6.1.1), and for this host only: what else its domain serves is not ours to say.
	onlyTLS = []string{"max-age=31536000"}
)

// Secure sets the headers that every answer carries. Pages of other origins may show media by <video> and <img> only if
// otherOrigins is true; for scripts, CORS decides.
//
// Browsers are told to come by TLS only where the request has: to us, or to a proxy that says so. Everybody may say so,
// since the header goes back to nobody else, and browsers heed it only over TLS without a fault (RFC 6797, section 8.1).
func Secure(h http.Header, r *http.Request, otherOrigins bool) {
	h["X-Content-Type-Options"] = noSniffing
	h["Referrer-Policy"] = noReferrer
	h["X-Frame-Options"] = noFrames
	h["Content-Security-Policy"] = apiPolicy
	if r.URL.Path == "/" {
		h["Content-Security-Policy"] = pagePolicy
	}
	h["Cross-Origin-Resource-Policy"] = sameOrigin
	if otherOrigins {
		h["Cross-Origin-Resource-Policy"] = crossOrigin
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		h["Strict-Transport-Security"] = onlyTLS
	}
}
