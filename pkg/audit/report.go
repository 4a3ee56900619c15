package audit

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Report is what Verify found.
type Report struct {
	Chains   []ChainReport // the chains that have entries, files or kept heads, in the order of Categories
	Findings []Finding     // what must not be: each says that something was changed or lost
	Notes    []Finding     // what a reader should know, and what a crash alone explains
}

// ChainReport is what Verify found of one category.
type ChainReport struct {
	Category Category
	Entries  uint64    // lines that are entries, wherever they stand
	Files    int       // day files
	First    time.Time // timestamp of the first entry
	Last     time.Time // timestamp of the last entry
	Head     Head      // the last entry
	Vouched  uint64    // up to this seq, entries are those that the last checkpoint names
	By       uint64    // the number of that checkpoint, 0 if there is none
	FirstBad *Finding  // the first bad line; nil if every line is good. It is among the Findings too
	BadLines uint64
}

// Finding says what is wrong where: Place is a file, or file:line.
type Finding struct {
	Place  string
	Reason string
}

func (f Finding) String() string { return f.Place + ": " + f.Reason }

// OK reports whether nothing was found that must not be.
func (r Report) OK() bool { return len(r.Findings) == 0 }

// String is the report for people: a line for each chain, then the findings and the notes.
func (r Report) String() string {
	var b strings.Builder
	for _, c := range r.Chains {
		b.WriteString(c.String())
		b.WriteByte('\n')
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "BAD   %s\n", f)
	}
	for _, f := range r.Notes {
		fmt.Fprintf(&b, "note  %s\n", f)
	}
	if r.OK() {
		b.WriteString("The audit log is whole.\n")
	} else {
		b.WriteString("The audit log was changed or is damaged.\n")
	}
	return b.String()
}

// WriteTo writes String to w.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.String())
	return int64(n), err
}

func (c ChainReport) String() string {
	if c.Entries == 0 {
		return fmt.Sprintf("%-10s no entries in %d files", c.Category, c.Files)
	}
	state := "whole"
	if c.FirstBad != nil {
		state = fmt.Sprintf("%d bad lines, the first at %s", c.BadLines, c.FirstBad.Place)
	}
	if c.By > 0 {
		state += fmt.Sprintf(", vouched for up to entry %d by checkpoint %d", c.Vouched, c.By)
	}
	return fmt.Sprintf("%-10s %d entries in %d files, %s to %s, head %d %s: %s", c.Category, c.Entries, c.Files,
		c.First.Format(timeForm), c.Last.Format(timeForm), c.Head.Seq, c.Head.Hash, state)
}
