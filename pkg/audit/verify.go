package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Verify checks everything under dir: every line's form, hash and link, the order of seq and of days, that the heads
// kept in dir and in heads (which may be nil) are in their chains, and that nothing is there that does not belong.
//
// It reads the files as a stream and writes nothing. Others may append meanwhile: what is checked is the log as it stood
// when Verify came to the chain. A directory that is empty or not there has no chains, which is fine unless a head says
// otherwise. The error says that Verify could not do its work (ctx ended, dir cannot be listed), not what it found.
//
// A crash alone is no finding. The end of a chain's last file that has no newline is a note, like the entries that tell
// of torn lines moved aside, and like an empty last file; whether more than an unacknowledged line was lost there, the
// kept heads tell. An audit.gap entry is a finding for ever.
func Verify(ctx context.Context, dir string, heads HeadReader) (Report, error) {
	return verify(ctx, dirShelf{dir}, heads)
}

func verify(ctx context.Context, s shelf, heads HeadReader) (Report, error) {
	v := &verifier{shelf: s, heads: heads, aside: map[string]bool{}}
	for _, category := range Categories {
		if err := v.chain(ctx, category); err != nil {
			return v.report, fmt.Errorf("audit: verify %s: %w", category, err)
		}
	}
	if err := s.strangers(ctx, v); err != nil {
		return v.report, fmt.Errorf("audit: verify: %w", err)
	}
	return v.report, nil
}

// shelf is where the files of a log lie. An error says that it cannot be looked at, not that something is wrong with it.
type shelf interface {
	// head loads the head that is kept beside the log.
	head(ctx context.Context, c Category) (Head, bool, error)
	// files lists a chain's files, oldest first. What a crash may have cut off is at the end of the file with the number
	// newest, or of those after it, and in no other.
	files(ctx context.Context, v *verifier, c Category) (files []logFile, newest int, err error)
	open(ctx context.Context, f logFile) (r io.ReadCloser, size int64, err error)
	// strangers reports what nobody of this package puts there.
	strangers(ctx context.Context, v *verifier) error
}

type verifier struct {
	shelf  shelf
	heads  HeadReader
	report Report
	aside  map[string]bool // the files in torn/ that entries tell of
}

func (v *verifier) find(place, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{place, fmt.Sprintf(format, args...)})
}

func (v *verifier) note(place, format string, args ...any) {
	v.report.Notes = append(v.report.Notes, Finding{place, fmt.Sprintf(format, args...)})
}

// keptHead is a head that must be in its chain.
type keptHead struct {
	place string
	head  Head
	found bool
}

func (v *verifier) chain(ctx context.Context, category Category) error {
	// The heads first: an appender keeps a head after its entry, so these are in whatever the files hold later.
	kept, err := v.keptHeads(ctx, category)
	if err != nil {
		return err
	}
	files, newest, err := v.shelf.files(ctx, v, category)
	if err != nil {
		return err
	}
	if len(files) == 0 && len(kept) == 0 {
		return nil
	}
	w := &walk{v: v, kept: kept, report: ChainReport{Category: category, Files: len(files)}, linked: true}
	for i, f := range files {
		if err := w.file(ctx, f, i >= newest); err != nil {
			return err
		}
	}
	w.conclude()
	return nil
}

func (v *verifier) keptHeads(ctx context.Context, category Category) ([]keptHead, error) {
	var kept []keptHead
	place := headsDir + "/" + string(category) + ".json"
	h, found, err := v.shelf.head(ctx, category)
	switch {
	case errors.Is(err, errBadHead):
		v.find(place, "%v", err)
	case err != nil:
		return nil, err
	case found:
		kept = append(kept, keptHead{place: place, head: h})
	}
	if v.heads == nil {
		return kept, nil
	}
	place = "head store: " + string(category)
	h, found, err = v.heads.Load(ctx, category)
	switch {
	case err != nil:
		v.note(place, "could not be asked: %v", err)
	case found && h.validate(category) != nil:
		v.find(place, "%v", errBadHead)
	case found:
		kept = append(kept, keptHead{place: place, head: h})
	}
	return kept, nil
}

// logFile is a file of a chain: of a day, or a part.
type logFile struct {
	name string
	date string // "" of a part
	size int64  // when Verify came to its chain; of a part, that is when it is opened
}
