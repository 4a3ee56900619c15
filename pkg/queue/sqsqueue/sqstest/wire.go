package sqstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"
)

const (
	contentType = "application/x-amz-json-1.0"
	target      = "AmazonSQS."
	pollEvery   = 5 * time.Millisecond
)

// ServeHTTP answers one request of the protocol.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target)
	fail, done := s.note(action)
	if fail && !done {
		unavailable(w)
		return
	}
	answer, err := s.answer(r, action)
	var no *refusal
	switch {
	case errors.As(err, &no):
		s.refuse(action, no)
		writeJSON(w, http.StatusBadRequest, map[string]string{"__type": "com.amazonaws.sqs#" + no.code, "message": no.text})
	case fail:
		unavailable(w)
	default:
		writeJSON(w, http.StatusOK, answer)
	}
}

// note counts a request and says whether it is to fail, and whether it is to be carried out all the same.
func (s *Server) note(action string) (fail, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[action]++
	f := s.fails[action]
	if f == nil || f.left == 0 {
		return false, false
	}
	f.left--
	return true, f.done
}

func unavailable(w http.ResponseWriter) {
	writeJSON(w, http.StatusServiceUnavailable, map[string]string{"__type": "com.amazonaws.sqs#ServiceUnavailable", "message": "as the test asked for"})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// answer checks a request as far as every action has it in common.
func (s *Server) answer(r *http.Request, action string) (any, error) {
	authorization := r.Header.Get("Authorization")
	signed := strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 ") && strings.Contains(authorization, "/"+Region+"/sqs/aws4_request")
	handle, known := actions[action]
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != contentType:
		return nil, refused("InvalidRequest", "%s %s of type %q is not how SQS is spoken to", r.Method, r.URL, r.Header.Get("Content-Type"))
	case !signed:
		return nil, refused("MissingAuthenticationToken", "The request is not signed for SQS in %s: %q", Region, authorization)
	case !known:
		return nil, refused("UnknownOperationException", "no action %q", r.Header.Get("X-Amz-Target"))
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(r.Body); err != nil {
		return nil, refused("InvalidRequest", "body: %v", err)
	}
	var in request
	if err := json.Unmarshal(body.Bytes(), &in); err != nil {
		return nil, refused("SerializationException", "%v", err)
	}
	s.mu.Lock()
	q, ok := s.queues[path.Base(in.QueueURL)]
	s.mu.Unlock()
	if action != "GetQueueUrl" && (!ok || in.QueueURL != s.url(q.name)) {
		return nil, refused("QueueDoesNotExist", "The specified queue %q does not exist.", in.QueueURL)
	}
	return handle(s, r, q, in)
}
