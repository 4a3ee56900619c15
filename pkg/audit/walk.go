package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxGaps bounds how many entries about gaps a report lists for each chain.
const maxGaps = 100

// walk goes over one chain from its first line to its last.
type walk struct {
	v      *verifier
	kept   []keptHead
	report ChainReport
	lines  *bufio.Reader
	linked bool // the line before was an entry, which the next must follow
	gaps   int
	pledge pledge
	broke  int    // how many pledges are not kept
	named  uint64 // the highest number of a checkpoint that an entry names
}

// place is where in the chain a line stands.
type place struct {
	file logFile
	line int
	end  int64 // offset after the line's newline
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file.name, p.line) }

func (w *walk) bad(p place, format string, args ...any) {
	w.report.BadLines++
	if w.report.FirstBad == nil {
		w.report.FirstBad = &Finding{p.String(), fmt.Sprintf(format, args...)}
		w.v.report.Findings = append(w.v.report.Findings, *w.report.FirstBad)
	}
}

// errCannotRead is a file that is listed and cannot be read.
var errCannotRead = errors.New("cannot be read")

// file goes over one file. last says that nothing but empty files follows, so that a crash may have cut it off.
func (w *walk) file(ctx context.Context, f logFile, last bool) error {
	r, size, err := w.v.shelf.open(ctx, f)
	if errors.Is(err, errCannotRead) {
		w.v.find(f.name, "%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	if size == 0 {
		if last {
			w.v.note(f.name, "is empty, as a crash at the beginning of a day leaves it")
		} else {
			w.v.find(f.name, "is empty: its entries were removed")
		}
		return nil
	}
	if w.lines == nil {
		w.lines = bufio.NewReaderSize(nil, MaxLine)
	}
	lines := w.lines
	lines.Reset(counted{r, w.v.Progress})
	for p := (place{file: f, line: 1}); ; p.line++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := lines.ReadSlice('\n')
		p.end += int64(len(line))
		switch {
		case err == nil:
			if err := w.line(ctx, p, line[:len(line)-1]); err != nil {
				return err
			}
		case errors.Is(err, bufio.ErrBufferFull):
			skipped, err := skipLine(lines)
			p.end += skipped
			w.broken(p, "longer than a line may be")
			if err != nil {
				return notEOF(err)
			}
		case err == io.EOF:
			w.fileEnd(p, len(line), last)
			return nil
		default:
			w.v.find(p.String(), "cannot be read: %v", err)
			return nil
		}
	}
}

// counted tells how far reading is.
type counted struct {
	r io.Reader
	p *Progress
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.p.done.Add(int64(n))
	return n, err
}

func skipLine(r *bufio.Reader) (n int64, err error) {
	for {
		part, err := r.ReadSlice('\n')
		n += int64(len(part))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

// fileEnd looks at what follows the last newline of a file. Entries are acknowledged with their newline only, so what a
// crash may leave there is no loss; in a file that others follow it cannot come from a crash.
func (w *walk) fileEnd(p place, bytes int, last bool) {
	switch {
	case bytes == 0:
	case last:
		w.v.note(p.String(), "torn: %d bytes without a newline, as a crash leaves them", bytes)
	default:
		w.broken(p, "the file ends without a newline")
	}
}

// broken is a line that is no entry: what follows cannot be linked to it.
func (w *walk) broken(p place, format string, args ...any) {
	w.bad(p, format, args...)
	w.linked = false
}

func (w *walk) line(ctx context.Context, p place, line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		w.broken(p, "blank line")
		return nil
	}
	e, err := ParseLine(line)
	if err != nil {
		w.broken(p, "%v", err)
		return nil
	}
	if e.Category != w.report.Category {
		w.broken(p, "an entry of the chain %s", e.Category)
		return nil
	}
	w.link(p, &e)
	w.date(p, &e)
	if w.report.Entries == 0 {
		w.report.First = e.Time
	}
	w.report.Entries++
	w.report.Last = e.Time
	w.report.Head = Head{Seq: e.Seq, Hash: e.Hash, File: p.file.name, End: p.end}
	w.linked = true
	for i := range w.kept {
		w.kept[i].found = w.kept[i].found || w.kept[i].head == w.report.Head
	}
	if err := w.redeem(ctx, p); err != nil {
		return err
	}
	return w.own(ctx, p, &e)
}

// link checks that e follows the entry before it.
func (w *walk) link(p place, e *Entry) {
	if !w.linked {
		return
	}
	prev := w.report.Head // of seq 0 and with a zero hash before the first entry
	switch {
	case e.Seq > prev.Seq+1:
		w.bad(p, "entries %d to %d are missing before it", prev.Seq+1, e.Seq-1)
	case e.Seq <= prev.Seq:
		w.bad(p, "entry %d stands after entry %d", e.Seq, prev.Seq)
	case e.PrevHash != prev.Hash:
		w.bad(p, "its prevHash is not the hash of the entry before it: that one was changed")
	}
}

// date checks the date of a file that has one: a day begins with an entry of that day. Later entries may be of earlier days, when the
// clock went back, but not of later ones.
func (w *walk) date(p place, e *Entry) {
	date := e.Time.Format(dateForm)
	if p.file.date == "" {
		return
	}
	if date > p.file.date || (p.line == 1 && date != p.file.date) {
		w.bad(p, "an entry of %s in the file of %s", date, p.file.date)
	}
}

// own reads the entries that the log made about itself.
func (w *walk) own(ctx context.Context, p place, e *Entry) error {
	if !isOwn(e.Event) {
		return nil
	}
	var event struct {
		Action  string `json:"action"`
		Details struct {
			ExpectedSeq, FoundSeq uint64
			Aside                 string
			Bytes                 int64
			named
		} `json:"details"`
	}
	if err := json.Unmarshal(e.Event, &event); err != nil {
		event.Action = "" // some other event of that name
	}
	switch d := event.Details; event.Action {
	case ActionGap:
		if w.gaps++; w.gaps <= maxGaps {
			w.v.find(p.String(), "gap: entry %d had been kept as the head, and the log ended at entry %d when it went on", d.ExpectedSeq, d.FoundSeq)
		}
	case ActionTornLine:
		w.v.aside[d.Aside] = true
		w.v.note(p.String(), "torn line: a crash left %d bytes, now in %s", d.Bytes, d.Aside)
	case ActionCheckpoint:
		return w.name(ctx, p, d.named)
	}
	return nil
}

// conclude holds the kept heads against the whole chain.
func (w *walk) conclude(ctx context.Context) error {
	if err := w.unkept(ctx); err != nil {
		return err
	}
	for _, k := range w.kept {
		if k.found {
			continue
		}
		w.v.find(k.place, "the kept head (%s) is not in the chain, which ends at %s: entries were removed or changed",
			k.head, w.report.Head)
	}
	if len(w.kept) == 0 {
		w.v.note(string(w.report.Category), "no head is kept: that no entries are missing at the end cannot be shown")
	}
	if w.gaps > maxGaps {
		w.v.note(string(w.report.Category), "%d more gaps", w.gaps-maxGaps)
	}
	w.v.report.Chains = append(w.v.report.Chains, w.report)
	return nil
}
