package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// request is one entry on its way into the log. The encoder holds the event's JSON until the writer has copied it.
type request struct {
	id      string
	event   *encoder
	durable bool
	done    chan error // holds one, so that the writer never waits for a caller who has left
}

// scribe turns events into what stands in a line, in their callers' goroutines.
type scribe struct {
	fullIP   bool
	encoders sync.Pool
}

func newScribe(fullIP bool) *scribe {
	s := &scribe{fullIP: fullIP}
	s.encoders.New = func() any { return newEncoder() }
	return s
}

// prepare refuses what cannot be an entry, or only one of the log's own.
func (s *scribe) prepare(event *Event) (*request, error) {
	if event.Action == "" {
		return nil, errors.New("the event names no action")
	}
	if slices.Contains(ownActions, event.Action) {
		return nil, fmt.Errorf("the action %s is the log's own", event.Action)
	}
	return s.encode(event)
}

func (s *scribe) encode(event *Event) (*request, error) {
	id := event.ID
	if id == "" {
		fresh, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		id = fresh.String()
	}
	if !validID(id) {
		return nil, fmt.Errorf("an event's ID is 1 to %d printable characters", maxID)
	}
	if s.fullIP {
		event.Address = fullAddress(event.Address)
	} else {
		event.Address = Anonymise(event.Address)
	}
	e := s.encoders.Get().(*encoder)
	if err := e.encode(event); err != nil {
		s.recycle(e)
		return nil, err
	}
	return &request{id: id, event: e, done: make(chan error, 1)}, nil
}

func (s *scribe) recycle(e *encoder) {
	if e.buf.Cap() <= 64<<10 {
		s.encoders.Put(e)
	}
}

// encoder writes an event as compact JSON without HTML escaping.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

func newEncoder() *encoder {
	e := &encoder{}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}

func (e *encoder) encode(event *Event) error {
	e.buf.Reset()
	if err := e.json.Encode(event); err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	if e.buf.Len() > maxEvent {
		return fmt.Errorf("the event takes %d bytes, %d are allowed", e.buf.Len(), maxEvent)
	}
	return nil
}

// bytes is the JSON without the newline that the json package ends it with.
func (e *encoder) bytes() []byte { return e.buf.Bytes()[:e.buf.Len()-1] }
