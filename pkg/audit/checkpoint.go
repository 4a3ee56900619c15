package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint is the heads of all chains at a moment. It is kept as a signed note (golang.org/x/mod/sumdb/note), whose text
// is
//
//	pulsevault audit checkpoint v1
//	number 2
//	time 2026-02-01T00:00:00.104300Z
//	occasion midnight
//	previous 6e6aa9adc1c1e2d1c2dc4d7f4a3c2ac8a1f0f7b0f2a5bb9c0f0f5fa1c0b0c3d7
//	access 120 b438a172dcbee86d5d61e1f0d32b0c6b9a72572d483a1029c2625dcc25fb3c60 access-2026-01-31.log 40960
//	admin 3 0d5b3d3b9f7e0d5a8f2a1bb6a8bd8f2a6a1f1bb1b8f1e5a1a7c9c5e6d7f8a9b0 admin-2026-01-31.log 1031
//
// and in which an empty line and the signatures follow. number is 1 for the first checkpoint of a log, then one more for
// each; time is when it was made, in the form of an entry's timestamp; previous is the SHA-256 of the whole note before,
// signatures included, 64 zeros for the first. Each further line is the head of a chain that has entries, in the order of
// their names: category, seq, hash, file, and where in the file the entry's line ends.
type Checkpoint struct {
	Number   uint64
	Time     time.Time
	Occasion Occasion
	Previous Hash
	Heads    []ChainHead
}

// ChainHead is the head of a chain.
type ChainHead struct {
	Category Category
	Head
}

// Occasion is what a checkpoint was made for.
type Occasion string

// The occasions.
const (
	EveryMinute Occasion = "minute"   // there was activity, and the last one was a minute old
	Midnight    Occasion = "midnight" // the first one since a day, of UTC, has ended
	Stop        Occasion = "stop"     // a process came to its end
)

const checkpointTitle = "pulsevault audit checkpoint v1"

// text is what is signed.
func (c *Checkpoint) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nnumber %d\ntime %s\noccasion %s\nprevious %s\n", checkpointTitle, c.Number, c.Time.UTC().Format(timeForm), c.Occasion, c.Previous)
	for _, h := range c.Heads {
		fmt.Fprintf(&b, "%s %d %s %s %d\n", h.Category, h.Seq, h.Hash, h.File, h.End)
	}
	return b.String()
}

// sign makes the note.
func (c *Checkpoint) sign(s note.Signer) ([]byte, error) {
	slices.SortFunc(c.Heads, func(a, b ChainHead) int { return cmp.Compare(a.Category, b.Category) })
	return note.Sign(&note.Note{Text: c.text()}, s)
}

// head returns the head of a chain, of seq 0 if the checkpoint has none.
func (c *Checkpoint) head(category Category) Head {
	for _, h := range c.Heads {
		if h.Category == category {
			return h.Head
		}
	}
	return Head{}
}

// OpenCheckpoint reads a note that one of the keys has signed. Without keys it reads any, whoever signed it. It accepts only
// the form that Checkpoint specifies, byte for byte.
func OpenCheckpoint(signed []byte, keys []note.Verifier) (Checkpoint, error) {
	text := string(signed)
	if len(keys) > 0 {
		n, err := note.Open(signed, note.VerifierList(keys...))
		if err != nil {
			return Checkpoint{}, fmt.Errorf("no valid signature of the key that was given: %w", err)
		}
		text = n.Text
	} else if i := strings.LastIndex(text, "\n\n"); i >= 0 {
		text = text[:i+1]
	}
	return parseCheckpoint(text)
}

var errNoCheckpoint = errors.New("not the text of a checkpoint")

func parseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 5 || lines[0] != checkpointTitle {
		return c, errNoCheckpoint
	}
	var values [4]string
	for i, name := range [...]string{"number ", "time ", "occasion ", "previous "} {
		values[i] = strings.TrimPrefix(lines[i+1], name)
	}
	c.Number, err = strconv.ParseUint(values[0], 10, 64)
	if err == nil {
		c.Time, err = time.Parse(timeForm, values[1])
	}
	c.Occasion = Occasion(values[2])
	if err == nil {
		err = c.Previous.UnmarshalText([]byte(values[3]))
	}
	for _, line := range lines[5:] {
		if err == nil {
			err = c.addHead(line)
		}
	}
	// What was read is written again, so that nothing else can stand between the lines, or in them.
	if !slices.Contains([]Occasion{EveryMinute, Midnight, Stop}, c.Occasion) || c.Number == 0 || c.text() != text || err != nil {
		return Checkpoint{}, errors.Join(errNoCheckpoint, err)
	}
	return c, nil
}

func (c *Checkpoint) addHead(line string) error {
	fields := strings.Split(line, " ")
	if len(fields) != 5 {
		return errNoCheckpoint
	}
	h := ChainHead{Category: Category(fields[0]), Head: Head{File: fields[3]}}
	var errs [3]error
	h.Seq, errs[0] = strconv.ParseUint(fields[1], 10, 64)
	errs[1] = h.Hash.UnmarshalText([]byte(fields[2]))
	h.End, errs[2] = strconv.ParseInt(fields[4], 10, 64)
	c.Heads = append(c.Heads, h)
	return errors.Join(errs[0], errs[1], errs[2], h.validate(h.Category))
}

const checkpointExt = ".note"

func checkpointName(number uint64) string { return fmt.Sprintf("%08d%s", number, checkpointExt) }

// parseCheckpointName takes the name of a checkpoint's file apart.
func parseCheckpointName(name string) (number uint64, ok bool) {
	digits, isNote := strings.CutSuffix(name, checkpointExt)
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, isNote && err == nil && number > 0 && checkpointName(number) == name
}

func hashOfNote(signed []byte) Hash { return sha256.Sum256(signed) }

// named is what an entry with the action audit.checkpoint says.
type named struct {
	Number uint64 `json:"number"`
	Hash   Hash   `json:"hash"`
}

func (n named) event() Event {
	return Event{ID: fmt.Sprintf("checkpoint-%d-%s", n.Number, n.Hash), Action: ActionCheckpoint,
		Details: map[string]any{"number": n.Number, "hash": n.Hash}}
}

// isOwn reports whether an event is one that the log makes about itself.
func isOwn(event []byte) bool { return bytes.HasPrefix(event, []byte(`{"action":"audit.`)) }
