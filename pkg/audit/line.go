package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxLine is the longest line there may be, its newline included.
const MaxLine = 1 << 20

const (
	timeForm = "2006-01-02T15:04:05.000000Z"
	dateForm = time.DateOnly
	tailSize = len(`,"hash":"`) + 2*sha256.Size + len(`"}`)
	maxID    = 128
	// maxFrame is room for every other member at its longest.
	maxFrame = 1024
	maxEvent = MaxLine - maxFrame
)

// Hash is a SHA-256, written as 64 lower-case hex digits. The zero value is what the first entry follows.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the 64 digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText accepts exactly what MarshalText writes.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return errors.New("a hash has 64 hex digits")
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return errors.New("a hash has lower-case hex digits only")
		}
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Entry is one line of the log.
type Entry struct {
	Seq      uint64
	EventID  string
	Time     time.Time
	Category Category
	PrevHash Hash
	Event    json.RawMessage // as it stands in the line
	Hash     Hash
}

// appendLine writes e with its newline to buf and returns its hash; e.Hash is not looked at. The timestamp comes
// formatted, because all entries of a group share it.
func appendLine(buf []byte, e *Entry, timestamp string) ([]byte, Hash) {
	start := len(buf)
	buf = append(buf, `{"v":1,"seq":`...)
	buf = strconv.AppendUint(buf, e.Seq, 10)
	buf = append(buf, `,"eventId":"`...)
	buf = append(buf, e.EventID...)
	buf = append(buf, `","timestamp":"`...)
	buf = append(buf, timestamp...)
	buf = append(buf, `","category":"`...)
	buf = append(buf, e.Category...)
	buf = append(buf, `","prevHash":"`...)
	buf = hex.AppendEncode(buf, e.PrevHash[:])
	buf = append(buf, `","event":`...)
	buf = append(buf, e.Event...)
	buf = append(buf, '}')
	hash := Hash(sha256.Sum256(buf[start:]))
	buf = append(buf[:len(buf)-1], `,"hash":"`...)
	buf = hex.AppendEncode(buf, hash[:])
	return append(buf, "\"}\n"...), hash
}

// ParseLine reads one line, given without its newline. It accepts only the form that the package comment specifies,
// byte for byte, and only with the hash that belongs to it. The Entry does not share memory with line.
func ParseLine(line []byte) (Entry, error) {
	var e Entry
	if len(line) >= MaxLine {
		return e, errors.New("longer than a line may be")
	}
	p := parser{rest: line}
	p.literal(`{"v":1,"seq":`)
	e.Seq = p.number()
	p.literal(`,"eventId":"`)
	e.EventID = p.text()
	p.literal(`,"timestamp":"`)
	e.Time = p.time()
	p.literal(`,"category":"`)
	e.Category = Category(p.text())
	p.literal(`,"prevHash":"`)
	e.PrevHash = p.hash()
	p.literal(`,"event":`)
	e.Event = p.event()
	p.literal(`,"hash":"`)
	e.Hash = p.hash()
	p.literal(`}`)
	switch {
	case p.err != nil:
		return Entry{}, p.err
	case len(p.rest) > 0:
		return Entry{}, errors.New("something follows the entry")
	case !validID(e.EventID):
		return Entry{}, errors.New("the eventId is not in its form")
	case !slices.Contains(Categories, e.Category):
		return Entry{}, fmt.Errorf("there is no category %q", e.Category)
	case hashOf(line) != e.Hash:
		return Entry{}, errors.New("the hash is not that of the line: the line was changed")
	}
	return e, nil
}

// hashOf recomputes a line's hash from its bytes alone.
func hashOf(line []byte) (sum Hash) {
	h := sha256.New()
	h.Write(line[:len(line)-tailSize])
	h.Write([]byte{'}'})
	h.Sum(sum[:0])
	return sum
}

// parser reads a line from left to right; after the first error the rest is skipped.
type parser struct {
	rest []byte
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = nil
}

func (p *parser) literal(s string) {
	rest, ok := bytes.CutPrefix(p.rest, []byte(s))
	if !ok {
		p.fail("not an entry in canonical form: no %s where it belongs", s)
		return
	}
	p.rest = rest
}

func (p *parser) number() uint64 {
	n := 0
	for n < len(p.rest) && p.rest[n] >= '0' && p.rest[n] <= '9' {
		n++
	}
	digits := string(p.rest[:n])
	v, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || digits[0] == '0' {
		p.fail("not an entry in canonical form: seq is no positive number")
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

// text reads up to the closing quote of a string that holds nothing to escape.
func (p *parser) text() string {
	s, rest, ok := bytes.Cut(p.rest, []byte{'"'})
	if !ok || len(s) > maxID {
		p.fail("not an entry in canonical form: a string does not end")
		return ""
	}
	p.rest = rest
	return string(s)
}

func (p *parser) time() time.Time {
	s := p.text()
	t, err := time.Parse(timeForm, s)
	if p.err == nil && (err != nil || t.Format(timeForm) != s) {
		p.fail("the timestamp is not in its form")
	}
	return t
}

func (p *parser) hash() (h Hash) {
	s := p.text()
	if p.err == nil {
		if err := h.UnmarshalText([]byte(s)); err != nil {
			p.fail("%w", err)
		}
	}
	return h
}

// event takes everything up to the hash, whose place is known from the end of the line.
func (p *parser) event() json.RawMessage {
	n := len(p.rest) - tailSize
	if n < 0 || !bytes.HasPrefix(p.rest[n:], []byte(`,"hash":"`)) {
		p.fail("not an entry in canonical form: the line does not end with its hash")
		return nil
	}
	if n < 2 || p.rest[0] != '{' || !json.Valid(p.rest[:n]) || !compact(p.rest[:n]) {
		p.fail("the event is not compact JSON")
		return nil
	}
	event := bytes.Clone(p.rest[:n])
	p.rest = p.rest[n:]
	return event
}

// compact reports whether valid JSON holds no white space between its tokens, and only UTF-8.
func compact(b []byte) bool {
	inString := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			return false
		}
	}
	return utf8.Valid(b)
}

// validID reports whether id can stand in a line as it is: printable ASCII without quotes and backslashes.
func validID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
