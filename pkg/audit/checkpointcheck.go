package audit

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"pulsevault/pkg/internal/durable"
)

// maxBroken bounds how many heads of checkpoints that are not in a chain a report lists.
const maxBroken = 20

func checkpointPlace(number uint64) string { return checkpointsDir + "/" + checkpointName(number) }

// survey lists the checkpoints. Their numbers are all that is kept of them: 8 bytes for each, 4 MB for a year of activity
// without a pause.
func (v *verifier) survey(ctx context.Context) error {
	err := v.shelf.checkpoints(ctx, func(name string) {
		number, ok := parseCheckpointName(name)
		switch {
		case ok:
			v.numbers = append(v.numbers, number)
		case !durable.IsTemp(name):
			v.note(checkpointsDir+"/"+name, "is no checkpoint")
		}
	})
	slices.Sort(v.numbers)
	return err
}

// checkpoints checks that there is a checkpoint of each number, signed, and each made after the one before.
func (v *verifier) checkpoints(ctx context.Context) error {
	if len(v.numbers) > 0 && len(v.Keys) == 0 {
		v.note(checkpointsDir, "no key was given, so who has signed the checkpoints was not checked")
	}
	var before uint64
	var hash Hash
	for _, number := range v.numbers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if number > before+1 {
			v.find(checkpointPlace(before+1), "is missing, and all up to %s", checkpointName(number-1))
		}
		signed, err := v.shelf.checkpoint(ctx, number)
		if err != nil {
			v.find(checkpointPlace(number), "cannot be read: %v", err)
			before, hash = number, Hash{}
			continue
		}
		c, err := OpenCheckpoint(signed, v.Keys)
		switch {
		case err != nil:
			v.find(checkpointPlace(number), "was changed or forged: %v", err)
		case c.Number != number:
			v.find(checkpointPlace(number), "is checkpoint %d", c.Number)
		case number == before+1 && c.Previous != hash:
			v.find(checkpointPlace(number), "does not follow the one before: that one was changed")
		}
		before, hash = number, hashOfNote(signed)
	}
	return nil
}

// pledge is the next head of a chain that a checkpoint names. One head that several name comes up once.
type pledge struct {
	v        *verifier
	category Category
	left     []uint64 // the numbers of the checkpoints not looked at yet
	number   uint64
	head     Head // of seq 0 if there is no further one
}

// next goes on to a further head. What cannot be read is passed over, since verifier.checkpoints reports it.
func (p *pledge) next(ctx context.Context) error {
	last := p.head
	for p.head = (Head{}); len(p.left) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		number := p.left[0]
		p.left = p.left[1:]
		signed, err := p.v.shelf.checkpoint(ctx, number)
		if err != nil {
			continue
		}
		c, err := OpenCheckpoint(signed, nil)
		h := c.head(p.category)
		if err != nil || h.Seq == 0 || h == last {
			continue
		}
		if h.Seq <= last.Seq {
			p.v.find(checkpointPlace(number), "names entry %d of %s, when entry %d had been named before: the chain was rewritten then", h.Seq, p.category, last.Seq)
			continue
		}
		p.number, p.head = number, h
		return nil
	}
	return nil
}

// redeem holds the entry that has just been read against the checkpoints.
func (w *walk) redeem(ctx context.Context, p place) error {
	for w.pledge.head.Seq > 0 && w.pledge.head.Seq <= w.report.Head.Seq {
		want := w.pledge.head
		if want.Seq == w.report.Head.Seq && want.Hash == w.report.Head.Hash {
			w.report.Vouched, w.report.By = want.Seq, w.pledge.number
		} else if w.broke++; w.broke <= maxBroken {
			w.v.find(p.String(), "is not entry %d that %s names (%s): the log was rewritten", want.Seq, checkpointPlace(w.pledge.number), want)
		}
		if err := w.pledge.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unkept reports the heads in checkpoints that the chain does not reach.
func (w *walk) unkept(ctx context.Context) error {
	for w.pledge.head.Seq > 0 {
		if w.broke++; w.broke <= maxBroken {
			w.v.find(checkpointPlace(w.pledge.number), "names entry %d of %s (in %s), which ends at entry %d: what followed was cut off",
				w.pledge.head.Seq, w.report.Category, w.pledge.head.File, w.report.Head.Seq)
		}
		if err := w.pledge.next(ctx); err != nil {
			return err
		}
	}
	if w.broke > maxBroken {
		w.v.note(string(w.report.Category), "%d more heads in checkpoints are not in the chain", w.broke-maxBroken)
	}
	if n := len(w.v.numbers); w.report.Category == Admin && n > 0 {
		w.unnamed(w.v.numbers[n-1])
	}
	return nil
}

// unnamed reports checkpoints that no entry names. A crash leaves at most the newest so.
func (w *walk) unnamed(newest uint64) {
	switch {
	case newest <= w.named:
	case newest == w.named+1:
		w.v.note(checkpointPlace(newest), "is named by no entry yet, as a crash leaves it")
	default:
		w.v.find(checkpointPlace(w.named+1), "is named by no entry, and so are all up to %s", checkpointName(newest))
	}
}

// name holds an entry that names a checkpoint against that.
func (w *walk) name(ctx context.Context, p place, n named) error {
	if n.Number > w.named+1 {
		w.v.find(p.String(), "names checkpoint %d after %d: the entries between were removed", n.Number, w.named)
	}
	w.named = max(w.named, n.Number)
	signed, err := w.v.shelf.checkpoint(ctx, n.Number)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.v.find(checkpointPlace(n.Number), "is missing: %s names it", p)
	case err != nil:
		w.v.find(checkpointPlace(n.Number), "cannot be read: %v", err)
	case hashOfNote(signed) != n.Hash:
		w.v.find(checkpointPlace(n.Number), "is not the one that %s names: it was exchanged", p)
	}
	return ctx.Err()
}
