package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pulsevault/pkg/vault"
)

// Message is an event on its way into a chain: what an Outbox sends, and a Ledger takes. Its form is JSON:
//
//	{"category":"access","eventId":"0193a5c0-7d2e-7000-8000-000000000001","time":"2026-01-31T23:59:59.25Z","event":{"action":"media.served","ip":"203.0.113.0"}}
type Message struct {
	Category Category        `json:"category"`
	EventID  string          `json:"eventId"`
	Time     time.Time       `json:"time"`  // when the event was handed in; becomes the entry's timestamp
	Event    json.RawMessage `json:"event"` // as it will stand in the line
}

// message makes a Message of an event that was handed in at a time.
func (s *scribe) message(category Category, event Event, at time.Time) (Message, error) {
	if !slices.Contains(Categories, category) {
		return Message{}, fmt.Errorf("there is no category %q", category)
	}
	r, err := s.prepare(&event)
	if err != nil {
		return Message{}, err
	}
	return s.messageOf(category, r, at), nil
}

func (s *scribe) messageOf(category Category, r *request, at time.Time) Message {
	defer s.recycle(r)
	return Message{Category: category, EventID: r.id, Time: at.UTC(), Event: bytes.Clone(r.event.bytes())}
}

// encode writes m in the form that ParseMessage reads. Two characters that JSON allows and a queue may not are escaped.
func (m Message) encode() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return "", fmt.Errorf("encode the message: %w", err)
	}
	return strings.NewReplacer("\uFFFE", `\ufffe`, "\uFFFF", `\uffff`).Replace(strings.TrimSuffix(b.String(), "\n")), nil
}

// ParseMessage reads a Message. One that can never be an entry is an error of the kind vault.Unprocessable.
func ParseMessage(body []byte) (Message, error) {
	var m Message
	err := json.Unmarshal(body, &m)
	if err == nil {
		err = m.validate()
	}
	if err != nil {
		return Message{}, errNoEvent.Because(err)
	}
	return m, nil
}

var errNoEvent = vault.Errorf(vault.Unprocessable, "audit_message", "the message is no event for the audit log")

func (m *Message) validate() error {
	var event struct {
		Action string `json:"action"`
	}
	switch {
	case !slices.Contains(Categories, m.Category):
		return fmt.Errorf("there is no category %q", m.Category)
	case !validID(m.EventID):
		return errors.New("the eventId is not in its form")
	case m.Time.Year() < 1970 || m.Time.Year() > 9999:
		return fmt.Errorf("the time %s is none of our days", m.Time)
	case len(m.Event) > maxEvent || !bytes.HasPrefix(m.Event, []byte{'{'}) || !compact(m.Event):
		return errors.New("the event is not compact JSON, or too long")
	}
	if err := json.Unmarshal(m.Event, &event); err != nil {
		return err
	}
	if event.Action == "" || slices.Contains(ownActions, event.Action) {
		return fmt.Errorf("the action is %q", event.Action)
	}
	return nil
}
