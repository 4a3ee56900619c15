package emulator

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

const (
	maxRequestBody     = 10 << 20         // of an API Gateway, in bytes
	integrationTimeout = 29 * time.Second // for a function to answer
	// ChunkSize is how large a piece of an upload may be so that, in base64, it fits into an event.
	ChunkSize = 4 << 20
)

// Gateway is an API Gateway (REST, with every media type binary) in front of the functions.
type Gateway struct {
	emulator *Emulator
	router   *router
	stage    string
	log      *slog.Logger
}

// NewGateway makes the API that the emulator's template describes.
func NewGateway(e *Emulator, log *slog.Logger) (*Gateway, error) {
	r, err := newRouter(e.config.Template.Functions)
	if err != nil {
		return nil, fmt.Errorf("API: %w", err)
	}
	return &Gateway{e, r, e.config.Template.Stage, log}, nil
}

// gatewayMessage is the body of an error that the gateway itself answers with.
type gatewayMessage struct {
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("x-amzn-ErrorType", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(gatewayMessage{message}) // to a client that may be gone
}

// tooLarge is AWS's refusal, which says no more than its first three words.
func tooLarge(w http.ResponseWriter) {
	refuse(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException",
		fmt.Sprintf("Request Too Long: send an upload in pieces of at most %d bytes (%d MiB)", ChunkSize, ChunkSize>>20))
}

func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, ok := g.router.find(r.Method, r.URL.EscapedPath())
	if !ok {
		refuse(w, http.StatusForbidden, "MissingAuthenticationTokenException", "Missing Authentication Token")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		tooLarge(w)
		return
	}
	if err != nil { // the client is gone: API Gateway calls a function with a whole body or not at all
		refuse(w, http.StatusBadRequest, "BadRequestException", "the request broke off")
		return
	}
	event, err := json.Marshal(newEvent(r, m, body, g.stage))
	if err != nil {
		g.failed(w, m, err)
		return
	}
	g.invoke(w, r, m, event)
}

func (g *Gateway) invoke(w http.ResponseWriter, r *http.Request, m match, event []byte) {
	type result struct {
		answer Answer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		a, err := g.emulator.Invoke(r.Context(), m.function, event)
		done <- result{a, err}
	}()
	select {
	case got := <-done:
		switch {
		case errors.Is(got.err, ErrTooLarge):
			tooLarge(w)
		case got.err != nil:
			g.failed(w, m, got.err)
		case got.answer.Failed:
			g.failed(w, m, fmt.Errorf("%s", got.answer.Payload))
		default:
			g.pass(w, m, got.answer.Payload)
		}
	case <-time.After(integrationTimeout): // the function goes on
		refuse(w, http.StatusGatewayTimeout, "InternalServerErrorException", "Endpoint request timed out")
	}
}

// failed answers for a function that has not.
func (g *Gateway) failed(w http.ResponseWriter, m match, err error) {
	g.log.Error("function failed", "function", m.function, "error", err)
	refuse(w, http.StatusBadGateway, "InternalServerErrorException", "Internal server error")
}

// remapped are the headers of a function's answer that API Gateway passes on under another name.
var remapped = map[string]bool{"Connection": true, "Content-Length": true, "Date": true, "Server": true, "Www-Authenticate": true}

// pass turns what a function returned into an answer.
func (g *Gateway) pass(w http.ResponseWriter, m match, payload []byte) {
	var a events.APIGatewayProxyResponse
	if err := json.Unmarshal(payload, &a); err != nil || a.StatusCode < 100 || a.StatusCode > 599 {
		g.failed(w, m, fmt.Errorf("malformed Lambda proxy response: %.200s", payload))
		return
	}
	body := []byte(a.Body)
	if a.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(a.Body); err != nil {
			g.failed(w, m, fmt.Errorf("malformed Lambda proxy response: %w", err))
			return
		}
	}
	h := w.Header()
	for name, value := range a.Headers {
		h.Set(outgoing(name), value)
	}
	for name, values := range a.MultiValueHeaders { // these win
		h.Del(outgoing(name))
		for _, value := range values {
			h.Add(outgoing(name), value)
		}
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if len(body) > 0 {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(a.StatusCode)
	_, _ = w.Write(body) // to a client that may be gone
}

func outgoing(name string) string {
	if remapped[http.CanonicalHeaderKey(name)] {
		return "X-Amzn-Remapped-" + strings.ToLower(name)
	}
	return name
}
