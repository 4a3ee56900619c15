package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Days is a span of days of UTC, such as 2026-01-31, both included. An empty one is open. A day is that of the log, which
// goes forward only: where a clock went back, an entry of an earlier time belongs to the day that had begun.
type Days struct{ From, To string }

// Entries reads the log in a directory, all chains merged by the time of their entries. It holds one line of each chain. A
// line that is no entry, and a file that cannot be read, comes as an error that says where, and the next ones follow;
// Verify tells whether entries are missing. After the error of ctx nothing follows.
func Entries(ctx context.Context, dir string, days Days) iter.Seq2[Entry, error] {
	return entriesOf(ctx, dirShelf{dir}, days)
}

// BucketEntries is Entries of the log in a bucket, which it reads from its beginning.
func BucketEntries(ctx context.Context, b Bucket, days Days) iter.Seq2[Entry, error] {
	return entriesOf(ctx, bucketShelf{b}, days)
}

// Decode returns the event of an entry. Numbers among its details are of the type json.Number.
func (e Entry) Decode() (Event, error) {
	event := Event{ID: e.EventID}
	err := e.decode(&event)
	return event, err
}

func (e Entry) decode(into any) error {
	dec := json.NewDecoder(bytes.NewReader(e.Event))
	dec.UseNumber()
	return dec.Decode(into)
}

func entriesOf(ctx context.Context, s shelf, days Days) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var tapes []*tape
		defer func() {
			for _, t := range tapes {
				t.close()
			}
		}()
		for _, c := range Categories {
			t := &tape{shelf: s, category: c, days: days}
			var err error
			if t.files, _, err = s.files(ctx, &verifier{}, c); err != nil {
				yield(Entry{}, fmt.Errorf("audit: read %s: %w", c, err))
				return
			}
			tapes = append(tapes, t)
			if !t.advance(ctx, yield) {
				return
			}
		}
		for {
			var next *tape
			for _, t := range tapes {
				if !t.ended && (next == nil || t.entry.Time.Before(next.entry.Time)) {
					next = t
				}
			}
			if next == nil || !yield(next.entry, nil) || !next.advance(ctx, yield) {
				return
			}
		}
	}
}

// tape reads one chain.
type tape struct {
	shelf    shelf
	category Category
	days     Days
	files    []logFile // not opened yet
	file     logFile
	reader   io.ReadCloser // of file, nil if none is open
	lines    *bufio.Reader
	line     int
	day      string // of the log
	entry    Entry
	ended    bool
}

// advance goes on to the next entry of the days that are wanted. What is wrong it yields.
func (t *tape) advance(ctx context.Context, yield func(Entry, error) bool) bool {
	for !t.ended {
		err := ctx.Err()
		if err != nil {
			yield(Entry{}, err)
			return false
		}
		found := false
		if t.reader == nil {
			err = t.open(ctx)
		} else {
			found, err = t.read()
		}
		if err != nil && !yield(Entry{}, fmt.Errorf("audit: %s: %w", place{file: t.file, line: t.line}, err)) {
			return false
		}
		if found {
			return true
		}
	}
	return true
}

// open begins the next file. Days have files of their own in a directory, so others are passed over there.
func (t *tape) open(ctx context.Context) (err error) {
	if len(t.files) == 0 {
		t.ended = true
		return nil
	}
	t.file, t.files, t.line = t.files[0], t.files[1:], 0
	if t.file.date != "" && !t.wanted(t.file.date) {
		return nil
	}
	if t.reader, _, err = t.shelf.open(ctx, t.file); err != nil {
		t.reader = nil
		return err
	}
	if t.lines == nil {
		t.lines = bufio.NewReaderSize(nil, MaxLine)
	}
	t.lines.Reset(t.reader)
	return nil
}

func (t *tape) wanted(day string) bool {
	return day >= t.days.From && (t.days.To == "" || day <= t.days.To)
}

// read reads a line, and reports whether it is an entry that is wanted.
func (t *tape) read() (found bool, err error) {
	t.line++
	line, err := t.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		_, err = skipLine(t.lines)
		return false, errors.Join(errors.New("longer than a line may be"), notEOF(err))
	case err != nil:
		t.close()
		if len(line) > 0 && errors.Is(err, io.EOF) {
			return false, errors.New("the line does not end")
		}
		return false, notEOF(err)
	}
	if t.entry, err = ParseLine(line[:len(line)-1]); err != nil {
		return false, err
	}
	if t.day = max(t.day, t.entry.Time.Format(dateForm)); t.file.date != "" {
		t.day = t.file.date
	}
	return t.wanted(t.day), nil
}

func (t *tape) close() {
	if t.reader != nil {
		_ = t.reader.Close() // nothing was written to it
		t.reader = nil
	}
}

// eachEntry calls back with the entries that can be read, and passes over other lines.
func eachEntry(r io.Reader, each func(Entry)) error {
	lines := bufio.NewReaderSize(r, MaxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			_, err = skipLine(lines)
		} else if err == nil {
			if e, bad := ParseLine(line[:len(line)-1]); bad == nil {
				each(e)
			}
		}
		if err != nil {
			return err
		}
	}
}

// At formats the time of an entry as it stands in its line.
func (e Entry) At() string { return e.Time.Format(timeForm) }

// ParseDay checks the form of a day.
func ParseDay(s string) error {
	if t, err := time.Parse(dateForm, s); err != nil || t.Format(dateForm) != s {
		return fmt.Errorf("%q is no day such as 2026-01-31", s)
	}
	return nil
}
