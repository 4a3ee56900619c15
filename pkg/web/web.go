// Package web is what every HTTP handler shares: errors become statuses and JSON here and nowhere else, and every request
// gets an id, a log line and its metrics.
package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"pulsevault/pkg/vault"
)

// statuses is the one table from kinds of error to HTTP statuses.
var statuses = map[vault.Kind]int{
	vault.Internal:      http.StatusInternalServerError,
	vault.Invalid:       http.StatusBadRequest,
	vault.Unauthorized:  http.StatusUnauthorized,
	vault.Forbidden:     http.StatusForbidden,
	vault.NotFound:      http.StatusNotFound,
	vault.Conflict:      http.StatusConflict,
	vault.TooLarge:      http.StatusRequestEntityTooLarge,
	vault.Unsupported:   http.StatusUnsupportedMediaType,
	vault.Unprocessable: http.StatusUnprocessableEntity,
	vault.NoSpace:       http.StatusInsufficientStorage,
	vault.Unavailable:   http.StatusServiceUnavailable,
}

// retryAfter is what an answer 503 suggests, in seconds.
const retryAfter = "5"

// Handler answers a request or returns why it could not. It must not have written anything when it returns an error.
type Handler func(w http.ResponseWriter, r *http.Request) error

func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		Fail(w, r, err)
	}
}

// Fail answers with err: its own code and message if it is a vault.Error, and otherwise only that something went wrong
// here, with the story in the log.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *vault.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, syscall.ENOSPC):
		e = vault.Errorf(vault.NoSpace, "no_space", "the disk here is full; nothing is lost, try again when there is room")
	default:
		e = vault.Errorf(vault.Internal, "internal_error", "something went wrong here; try again, and name the requestId when you report it")
	}
	status := statuses[e.Kind]
	if status >= http.StatusInternalServerError {
		Logger(r).ErrorContext(r.Context(), "request failed", "error", err)
	} else {
		Logger(r).DebugContext(r.Context(), "request refused", "error", err)
	}
	FailWith(w, r, status, e)
}

// FailWith answers with e under a status that is not the usual one of its kind.
func FailWith(w http.ResponseWriter, r *http.Request, status int, e *vault.Error) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Cache-Control", "no-store")
	JSON(w, r, status, map[string]failure{"error": {e.Code, e.Message, RequestID(r), e.Details}})
}

type failure struct {
	Code      string         `json:"code"`
	Message   string         `json:"message"`
	RequestID string         `json:"requestId"`
	Details   map[string]any `json:"details,omitempty"`
}

// JSON answers with v as compact JSON, without HTML escaping.
func JSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		Logger(r).ErrorContext(r.Context(), "answer cannot be encoded", "error", err)
		http.Error(w, `{"error":{"code":"internal_error","message":"something went wrong here"}}`, http.StatusInternalServerError)
		return
	}
	RawJSON(w, r, status, b.Bytes())
}

// RawJSON answers with data, which is JSON already.
func RawJSON(w http.ResponseWriter, r *http.Request, status int, data []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client has gone if this fails
	}
}

// Methods answers each method of one path with its handler, and every other method with 405.
type Methods map[string]http.Handler

func (m Methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h, ok := m[r.Method]; ok {
		h.ServeHTTP(w, r)
		return
	}
	allowed := make([]string, 0, len(m))
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	FailWith(w, r, http.StatusMethodNotAllowed, vault.Errorf(vault.Invalid, "method_not_allowed", "this address answers to %s", strings.Join(allowed, ", ")))
}

// NotFound answers that there is nothing at this address.
func NotFound(http.ResponseWriter, *http.Request) error {
	return vault.Errorf(vault.NotFound, "not_found", "there is nothing at this address")
}

// Logger returns the logger of a request, with its id.
func Logger(r *http.Request) *slog.Logger {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return x.log.With("requestId", x.id)
	}
	return slog.New(slog.DiscardHandler)
}

// RequestID returns the id of a request, which the answer carries in X-Request-Id.
func RequestID(r *http.Request) string {
	if x, ok := r.Context().Value(exchangeKey{}).(*exchange); ok {
		return x.id
	}
	return ""
}
