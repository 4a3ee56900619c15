package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"sync/atomic"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"
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
	return Inspection{Heads: heads}.Dir(ctx, dir)
}

// Inspection says against what a log is verified, beyond what lies in its own place.
type Inspection struct {
	// Heads are kept elsewhere; nil for none.
	Heads HeadReader
	// Keys are those that may have signed checkpoints. With one or more, a checkpoint that none of them has signed is a
	// finding, and so is a log that has entries and no checkpoint. Without, checkpoints are held against each other and
	// against the chains, which shows what was changed by mistake, but anybody could have written them.
	Keys []note.Verifier
	// Progress is told how far it is; nil for nobody.
	Progress *Progress
	// Pace is how many bytes it reads in a second at most, one chain after the other, so that others get on with their work
	// meanwhile; 0 is as fast as it can.
	Pace int64
}

// Progress is how many bytes of a log have been read, of those that are known to be there. It may be read at any time.
type Progress struct{ done, total atomic.Int64 }

// Bytes returns both.
func (p *Progress) Bytes() (done, total int64) { return p.done.Load(), p.total.Load() }

// Dir is Verify.
func (i Inspection) Dir(ctx context.Context, dir string) (Report, error) {
	return i.verify(ctx, dirShelf{dir})
}

// Bucket is VerifyBucket.
func (i Inspection) Bucket(ctx context.Context, b Bucket) (Report, error) {
	return i.verify(ctx, bucketShelf{b})
}

// verify goes over the checkpoints and the chains side by side, each with a verifier of its own, whose reports are joined in
// the order of Categories.
func (i Inspection) verify(ctx context.Context, s shelf) (Report, error) {
	if i.Progress == nil {
		i.Progress = &Progress{}
	}
	all := &verifier{Inspection: i, shelf: s, aside: map[string]bool{}}
	// Heads and checkpoints before the files, for they are kept after the entries: these are in whatever the files hold later.
	if err := all.survey(ctx); err != nil {
		return all.report, fmt.Errorf("audit: verify: %w", err)
	}
	parts := make([]*verifier, len(Categories)+1)
	var group errgroup.Group
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	if i.Pace > 0 {
		group.SetLimit(1)
		s = paced{s, i.Pace}
	}
	for n := range parts {
		v := &verifier{Inspection: i, shelf: s, aside: map[string]bool{}, numbers: all.numbers}
		parts[n] = v
		group.Go(func() error {
			if n == len(Categories) {
				return v.checkpoints(ctx)
			}
			if err := v.chain(ctx, Categories[n]); err != nil {
				return fmt.Errorf("audit: verify %s: %w", Categories[n], err)
			}
			return nil
		})
	}
	err := group.Wait()
	for _, v := range parts {
		all.join(v)
	}
	if err != nil {
		return all.report, err
	}
	if err := s.strangers(ctx, all); err != nil {
		return all.report, fmt.Errorf("audit: verify: %w", err)
	}
	if len(i.Keys) > 0 && len(all.numbers) == 0 {
		all.find(checkpointsDir, "there is no checkpoint: nothing here is vouched for by the key")
	}
	return all.report, nil
}

func (v *verifier) join(part *verifier) {
	v.report.Chains = append(v.report.Chains, part.report.Chains...)
	v.report.Findings = append(v.report.Findings, part.report.Findings...)
	v.report.Notes = append(v.report.Notes, part.report.Notes...)
	maps.Copy(v.aside, part.aside)
}

// shelf is where the files of a log lie. An error says that it cannot be looked at, not that something is wrong with it.
type shelf interface {
	// head loads the head that is kept beside the log.
	head(ctx context.Context, c Category) (Head, bool, error)
	// files lists a chain's files, oldest first. What a crash may have cut off is at the end of the file with the number
	// newest, or of those after it, and in no other.
	files(ctx context.Context, v *verifier, c Category) (files []logFile, newest int, err error)
	open(ctx context.Context, f logFile) (r io.ReadCloser, size int64, err error)
	// checkpoint reads one; fs.ErrNotExist if there is none of that number.
	checkpoint(ctx context.Context, number uint64) ([]byte, error)
	// checkpoints names whatever lies where the checkpoints do.
	checkpoints(ctx context.Context, each func(name string)) error
	// strangers reports what nobody of this package puts there.
	strangers(ctx context.Context, v *verifier) error
}

type verifier struct {
	Inspection
	shelf   shelf
	report  Report
	aside   map[string]bool // the files in torn/ that entries tell of
	numbers []uint64        // of the checkpoints that are there, in their order
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
	kept, err := v.keptHeads(ctx, category)
	if err != nil {
		return err
	}
	files, newest, err := v.shelf.files(ctx, v, category)
	if err != nil {
		return err
	}
	w := &walk{v: v, kept: kept, report: ChainReport{Category: category, Files: len(files)}, linked: true}
	w.pledge = pledge{v: v, category: category, left: v.numbers}
	if err := w.pledge.next(ctx); err != nil {
		return err
	}
	nameless := category == Admin && len(v.numbers) > 0 // it should hold their names
	if len(files) == 0 && len(kept) == 0 && w.pledge.head.Seq == 0 && !nameless {
		return nil
	}
	for _, f := range files {
		v.Progress.total.Add(f.size)
	}
	for i, f := range files {
		if err := w.file(ctx, f, i >= newest); err != nil {
			return err
		}
	}
	return w.conclude(ctx)
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
	if v.Heads == nil {
		return kept, nil
	}
	place = "head store: " + string(category)
	h, found, err = v.Heads.Load(ctx, category)
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
