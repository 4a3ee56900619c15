package emulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// MaxPayload is the size of an event, and of an answer, beyond which Lambda takes neither: 6 MB, in bytes.
const MaxPayload = 6 << 20

const runtimePath = "/2018-06-01/runtime/"

// invocation is one event on its way through a process.
type invocation struct {
	id       string
	arn      string
	event    []byte
	deadline time.Time
	outcome  chan outcome // has room for the one that comes
}

// outcome is what a function answered: a payload, or an error in Lambda's form.
type outcome struct {
	payload []byte
	failed  bool // the payload is an error
}

// functionError is the payload of a failed invocation.
type functionError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

func failure(kind, message string) outcome {
	payload, _ := json.Marshal(functionError{message, kind}) // of strings: never fails
	return outcome{payload, true}
}

// errorType is the type of the error that a function has ended with, or nothing.
func errorType(o outcome) string {
	var e functionError
	if !o.failed || json.Unmarshal(o.payload, &e) != nil {
		return ""
	}
	return e.Type
}

// runtimeAPI is the Lambda Runtime API as one process sees it.
type runtimeAPI struct {
	ready chan struct{}    // closed when the process asks for its first invocation: its init is over
	next  chan *invocation // handed over when the process asks for it
	gone  <-chan struct{}  // closed when the process has ended
	mux   *http.ServeMux
	once  sync.Once

	mu      sync.Mutex
	current *invocation
}

func newRuntimeAPI(gone <-chan struct{}) *runtimeAPI {
	a := &runtimeAPI{ready: make(chan struct{}), next: make(chan *invocation), gone: gone, mux: http.NewServeMux()}
	a.mux.HandleFunc("GET "+runtimePath+"invocation/next", a.serveNext)
	a.mux.HandleFunc("POST "+runtimePath+"invocation/{id}/response", a.serveResponse)
	a.mux.HandleFunc("POST "+runtimePath+"invocation/{id}/error", a.serveError)
	a.mux.HandleFunc("POST "+runtimePath+"init/error", a.serveInitError)
	return a
}

func (a *runtimeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

func (a *runtimeAPI) serveNext(w http.ResponseWriter, r *http.Request) {
	a.once.Do(func() { close(a.ready) })
	var i *invocation
	select {
	case i = <-a.next:
	case <-r.Context().Done():
		return
	case <-a.gone:
		return
	}
	a.mu.Lock()
	a.current = i
	a.mu.Unlock()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Lambda-Runtime-Aws-Request-Id", i.id)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", i.arn)
	h.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
	_, _ = w.Write(i.event) // a process that is gone is noticed by its end
}

func (a *runtimeAPI) serveResponse(w http.ResponseWriter, r *http.Request) {
	a.settle(w, r, func(payload []byte) outcome { return outcome{payload: payload} })
}

func (a *runtimeAPI) serveError(w http.ResponseWriter, r *http.Request) {
	a.settle(w, r, func(payload []byte) outcome { return outcome{payload, true} })
}

// settle ends the current invocation with what the process has sent.
func (a *runtimeAPI) settle(w http.ResponseWriter, r *http.Request, read func(payload []byte) outcome) {
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload))
	a.mu.Lock()
	i := a.current
	if i != nil && i.id == r.PathValue("id") {
		a.current = nil
	} else {
		i = nil
	}
	a.mu.Unlock()
	var tooLarge *http.MaxBytesError
	switch {
	case i == nil:
		answer(w, http.StatusBadRequest, functionError{"Invalid request ID", "InvalidRequestID"})
	case errors.As(err, &tooLarge):
		e := functionError{"Response payload size exceeded maximum allowed payload size (6291556 bytes).", "Function.ResponseSizeTooLarge"}
		i.outcome <- failure(e.Type, e.Message)
		answer(w, http.StatusRequestEntityTooLarge, e)
	case err != nil:
		i.outcome <- failure("Runtime.TruncatedResponse", "the answer of the function broke off")
	case r.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "":
		i.outcome <- failure(r.Trailer.Get("Lambda-Runtime-Function-Error-Type"), "the function failed while it answered")
		answer(w, http.StatusAccepted, map[string]string{"status": "OK"})
	default:
		i.outcome <- read(payload)
		answer(w, http.StatusAccepted, map[string]string{"status": "OK"})
	}
}

// serveInitError takes the last word of a process that cannot start; it ends by itself.
func (a *runtimeAPI) serveInitError(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusAccepted, map[string]string{"status": "OK"})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // to a process that may be gone
}
