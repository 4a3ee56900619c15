package sqstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	dedupWindow   = 5 * time.Minute
	maxVisibility = 12 * time.Hour
	maxBody       = 1 << 20
)

// message is one message in a queue.
type message struct {
	id, body, group, dedup string
	attributes             map[string]attribute
	sequence               int
	sent                   time.Time

	receives     int
	firstReceive time.Time
	received     time.Time // last
	receipt      string    // of the last receive
	hiddenUntil  time.Time
}

func (m *message) hidden(now time.Time) bool { return now.Before(m.hiddenUntil) }

// accepted is what is remembered of a message that was sent.
type accepted struct {
	id       string
	sequence int
	at       time.Time
}

// fifo is a FIFO queue. Its server's lock guards it.
type fifo struct {
	name        string
	messages    []*message
	seen        map[string]accepted // by deduplication id
	sequence    int
	dead        *fifo
	maxReceives int
}

// refusal is an answer that tells the client that it is wrong.
type refusal struct{ code, text string }

func (r *refusal) Error() string { return r.code + ": " + r.text }

func refused(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

var idForm = regexp.MustCompile("^[a-zA-Z0-9!-/:-@[-`{-~]{1,128}$")

func (m *message) check() *refusal {
	switch {
	case m.body == "":
		return refused("MissingParameter", "The request must contain the parameter MessageBody.")
	case len(m.body) > maxBody:
		return refused("InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", maxBody)
	case strings.ContainsFunc(m.body, notXML):
		return refused("InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")
	case m.group == "":
		return refused("MissingParameter", "The request must contain the parameter MessageGroupId.")
	case m.dedup == "":
		return refused("InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	case !idForm.MatchString(m.group), !idForm.MatchString(m.dedup):
		return refused("InvalidParameterValue", "Value %q, %q for MessageGroupId, MessageDeduplicationId is invalid.", m.group, m.dedup)
	}
	return nil
}

func notXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

// send adds a message, unless one with its deduplication id was sent within the last minutes.
func (q *fifo) send(now time.Time, m message) accepted {
	if before, ok := q.seen[m.dedup]; ok && now.Sub(before.at) < dedupWindow {
		return before
	}
	q.sequence++
	m.id, m.sequence, m.sent = uuid.NewString(), q.sequence, now
	q.messages = append(q.messages, &m)
	if q.seen == nil {
		q.seen = make(map[string]accepted)
	}
	q.seen[m.dedup] = accepted{m.id, m.sequence, now}
	return q.seen[m.dedup]
}

// receive hands out up to n messages and hides them. What has been received too often moves to the dead letters instead.
func (q *fifo) receive(now time.Time, n int, visibility time.Duration) (got []*message) {
	blocked := make(map[string]bool)
	for _, m := range slices.Clone(q.messages) {
		switch {
		case len(got) == n:
			return got
		case blocked[m.group]:
		case m.hidden(now):
			blocked[m.group] = true
		case q.maxReceives > 0 && m.receives >= q.maxReceives:
			q.remove(m)
			m.hiddenUntil = time.Time{}
			q.dead.messages = append(q.dead.messages, m)
		default:
			m.receives++
			m.receipt, m.received, m.hiddenUntil = uuid.NewString(), now, now.Add(visibility)
			if m.receives == 1 {
				m.firstReceive = now
			}
			got = append(got, m)
		}
	}
	return got
}

func (q *fifo) remove(m *message) {
	q.messages = slices.DeleteFunc(q.messages, func(other *message) bool { return other == m })
}

// held returns the message of a receipt that is still good.
func (q *fifo) held(now time.Time, receipt string) (*message, *refusal) {
	for _, m := range q.messages {
		switch {
		case m.receipt != receipt || receipt == "":
		case !m.hidden(now):
			return nil, refused("InvalidParameterValue", "Value %s for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.", receipt)
		default:
			return m, nil
		}
	}
	return nil, refused("ReceiptHandleIsInvalid", "The input receipt handle %q is invalid.", receipt)
}

// hide moves the end of a message's visibility timeout.
func (q *fifo) hide(now time.Time, receipt string, d time.Duration) *refusal {
	m, r := q.held(now, receipt)
	if r != nil {
		return r
	}
	if d < 0 || now.Add(d).Sub(m.received) > maxVisibility {
		return refused("InvalidParameterValue", "Value %v for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds].", d)
	}
	m.hiddenUntil = now.Add(d)
	return nil
}

func (q *fifo) count(now time.Time) (visible, hidden int) {
	for _, m := range q.messages {
		if m.hidden(now) {
			hidden++
		} else {
			visible++
		}
	}
	return visible, hidden
}
