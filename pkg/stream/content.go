package stream

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// serveContent answers ranges and conditions as RFC 9110 has them. http.ServeContent does, but for these things: it
// refuses a Range header in a unit that it does not know, where section 14.2 has it ignored; it serves the last 0 bytes,
// which section 14.1.2 calls unsatisfiable; of an empty file it serves the last bytes as a range from 0 to -1; it takes
// numbers with a sign, and none beyond 63 bits, where section 14.1.1 has digits of any number; and its refusals are not
// JSON, carry the Cache-Control of the media, or lack Content-Range.
func serveContent(w http.ResponseWriter, r *http.Request, modified time.Time, content io.ReadSeeker, size int64) {
	if rng := r.Header.Get("Range"); rng != "" {
		unit, set, ok := strings.Cut(rng, "=")
		if ok && size > 0 && strings.EqualFold(strings.TrimSpace(unit), "bytes") {
			r.Header.Set("Range", "bytes="+plainRanges(set))
		} else {
			r.Header.Del("Range")
		}
	}
	http.ServeContent(&contentWriter{ResponseWriter: w, request: r, size: size}, r, "", modified, content)
}

var (
	longNumber  = regexp.MustCompile(`[0-9]{19,}`)
	emptySuffix = regexp.MustCompile(`(^|,)\s*-0+\s*(,|$)`) // the last 0 bytes
)

const (
	beyondEnd = "999999999999999999" // more bytes than a file has, and still an int64
	noRange   = "x"
)

// plainRanges writes a set of ranges so that http.ServeContent reads it as the RFC does.
func plainRanges(set string) string {
	if usual(set) {
		return set
	}
	if strings.Contains(set, "+") {
		return noRange
	}
	set = longNumber.ReplaceAllStringFunc(set, func(digits string) string {
		if digits = strings.TrimLeft(digits, "0"); len(digits) <= len(beyondEnd) {
			return "0" + digits
		}
		return beyondEnd
	})
	return emptySuffix.ReplaceAllString(set, "${1}"+beyondEnd+"-${2}")
}

// usual reports whether a set is one range as players ask for it, 0-99 or 100-, which is read well as it is.
func usual(set string) bool {
	first, last, ok := strings.Cut(set, "-")
	return ok && first != "" && isNumber(first) && isNumber(last)
}

// plainRange reports whether a Range header is none, or asks for one range as players do, of which a file of that size has a
// part.
func plainRange(header string, size int64) bool {
	set, ok := strings.CutPrefix(header, "bytes=")
	if header == "" || !ok || !usual(set) {
		return header == ""
	}
	from, to, _ := strings.Cut(set, "-")
	first, _ := strconv.ParseInt(from, 10, 64) // usual has seen that these are numbers
	last, _ := strconv.ParseInt(to, 10, 64)
	return first < size && (to == "" || first <= last)
}

// isNumber reports whether s has nothing but digits, and not more than an int64 holds in any case.
func isNumber(s string) bool {
	return len(s) <= len(beyondEnd) && strings.Trim(s, "0123456789") == ""
}

// contentWriter says in JSON what http.ServeContent says in text or not at all: that no part of a range is there, and that
// a condition does not hold.
type contentWriter struct {
	http.ResponseWriter
	request *http.Request
	size    int64
	refused bool
}

func (w *contentWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *contentWriter) WriteHeader(status int) {
	var refusal *vault.Error
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", w.size))
		refusal = vault.Errorf(vault.Invalid, "range_not_satisfiable", "the range asked for is not in this file; Content-Range tells its length")
	case http.StatusPreconditionFailed:
		refusal = vault.Errorf(vault.Invalid, "precondition_failed", "this file is not, or no longer, as the request's condition wants it")
	default:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	web.FailWith(w.ResponseWriter, w.request, status, refusal)
}

func (w *contentWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom keeps sendfile working, and hands over what is in memory whole.
func (w *contentWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.refused {
		return io.Copy(io.Discard, src)
	}
	if l, ok := src.(*io.LimitedReader); ok {
		if all, ok := l.R.(*bytes.Reader); ok && l.N >= int64(all.Len()) {
			return all.WriteTo(w.ResponseWriter) // at once: io.Copy would hand over 32 KiB at a time
		}
	}
	return io.Copy(w.ResponseWriter, src)
}
