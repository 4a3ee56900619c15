package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/vault"
)

const (
	checkpointEvery = time.Minute
	// checkpointSlack is how much earlier than that a checkpoint may be made, lest a process that looks every minute waits
	// for another one because of the milliseconds that signing took.
	checkpointSlack   = 5 * time.Second
	checkpointTimeout = 30 * time.Second
)

// Signable is a log of which checkpoints are made: a Log or a Ledger.
type Signable interface {
	// Checkpoint signs the heads of all chains, if there are entries since the last checkpoint that do not speak of
	// checkpoints only, and with EveryMinute only if that one is a minute old. The first one of a day is of the occasion
	// Midnight, unless it is made at a Stop. When it returns, heads, checkpoint and the entry that names it are durable.
	// Any number of processes may call at once: one of them makes the checkpoint. made tells whether it was this one.
	Checkpoint(ctx context.Context, s note.Signer, o Occasion) (made bool, err error)
}

// RunCheckpoints has a checkpoint made every minute and at midnight, UTC, until ctx ends. What fails is logged and tried
// again a minute later.
func RunCheckpoints(ctx context.Context, l Signable, s note.Signer, log *slog.Logger) {
	for {
		now := time.Now().UTC()
		wait := min(checkpointEvery, now.Truncate(24*time.Hour).Add(24*time.Hour).Sub(now))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		if _, err := l.Checkpoint(ctx, s, EveryMinute); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "no checkpoint of the audit log could be made; the next try is in a minute", "error", err)
		}
	}
}

// notary is what making checkpoints takes of a log.
type notary interface {
	shelf
	// exclusive runs f while no other process makes a checkpoint, where that can be had.
	exclusive(ctx context.Context, f func() error) error
	// end returns the head of a chain once it is durable, of seq 0 if there are no entries.
	end(ctx context.Context, c Category) (Head, error)
	// create makes a checkpoint that is not there yet. The error is fs.ErrExist, or of the kind vault.Conflict, if it is.
	create(ctx context.Context, number uint64, signed []byte) error
	// name appends the entry that names a checkpoint.
	name(ctx context.Context, n named) error
}

// maker makes one checkpoint.
type maker struct {
	notary
	known  uint64 // the number of a checkpoint that is there, 0 if none is known
	signer note.Signer
	now    time.Time
	log    *slog.Logger
}

// make returns the number of the newest checkpoint, and whether it has made that.
func (m *maker) make(ctx context.Context, o Occasion) (newest uint64, made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkpointTimeout)
	defer cancel()
	newest = m.known
	err = m.exclusive(ctx, func() error {
		last, previous, err := m.last(ctx)
		if err != nil {
			return err
		}
		newest = last.Number
		next, err := m.next(ctx, last, previous, o)
		if next == nil || err != nil {
			return err
		}
		signed, err := next.sign(m.signer)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		err = m.create(ctx, next.Number, signed)
		if errors.Is(err, fs.ErrExist) || vault.KindOf(err) == vault.Conflict {
			return nil // another process was faster
		}
		if err != nil {
			return err
		}
		newest, made = next.Number, true
		return m.name(ctx, named{next.Number, hashOfNote(signed)})
	})
	if err != nil {
		err = fmt.Errorf("audit: checkpoint: %w", err)
	}
	return newest, made, err
}

// last finds the newest checkpoint, of the number 0 if there is none. One that cannot be read is no reason to make no
// further ones: it is followed by its hash, and Verify reports it.
func (m *maker) last(ctx context.Context) (c Checkpoint, hash Hash, err error) {
	number, err := m.newest(ctx)
	if number == 0 || err != nil {
		return c, hash, err
	}
	signed, err := m.checkpoint(ctx, number)
	if err != nil {
		return c, hash, err
	}
	c, err = OpenCheckpoint(signed, nil)
	if err != nil || c.Number != number {
		m.log.ErrorContext(ctx, "audit: the newest checkpoint was changed", "number", number, "err", err)
		c = Checkpoint{Number: number}
	}
	return c, hashOfNote(signed), nil
}

// newest gallops from the known checkpoint to the last one, since there is one of each number up to that.
func (m *maker) newest(ctx context.Context) (uint64, error) {
	there := func(number uint64) (bool, error) {
		_, err := m.checkpoint(ctx, number)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	low, step := m.known, uint64(1)
	for {
		found, err := there(low + step)
		if err != nil {
			return 0, err
		}
		if !found {
			break
		}
		low, step = low+step, 2*step
	}
	for high := low + step; high-low > 1; {
		middle := low + (high-low)/2
		found, err := there(middle)
		if err != nil {
			return 0, err
		}
		if found {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}

// next returns the checkpoint to make, nil if none is due. Before that it names the last one, if whoever made that was
// killed before he could.
func (m *maker) next(ctx context.Context, last Checkpoint, previous Hash, o Occasion) (*Checkpoint, error) {
	active, isNamed, err := m.since(ctx, last)
	if err != nil {
		return nil, err
	}
	if last.Number > 0 && !isNamed {
		if err := m.name(ctx, named{last.Number, previous}); err != nil {
			return nil, err
		}
	}
	next := &Checkpoint{Number: last.Number + 1, Time: m.now.UTC(), Occasion: o, Previous: previous}
	for _, c := range Categories {
		h, err := m.end(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("head of %s: %w", c, err)
		}
		if h.Seq > 0 {
			next.Heads = append(next.Heads, ChainHead{c, h})
		}
		active = active || c != Admin && h.Seq != last.head(c).Seq
	}
	age := m.now.Sub(last.Time)
	ended := last.Number > 0 && last.Time.Format(dateForm) < m.now.UTC().Format(dateForm)
	if o == EveryMinute && ended {
		next.Occasion = Midnight
	}
	if !active || next.Occasion == EveryMinute && age >= 0 && age < checkpointEvery-checkpointSlack {
		return nil, nil
	}
	return next, nil
}

// since looks at what stands in the chain admin behind a checkpoint's head: whether that is more than names of checkpoints,
// and whether the checkpoint itself is named.
func (m *maker) since(ctx context.Context, last Checkpoint) (active, isNamed bool, err error) {
	err = after(ctx, m, Admin, last.head(Admin), func(e Entry) {
		var event struct {
			Action  string
			Details named
		}
		if isOwn(e.Event) && e.decode(&event) == nil && event.Action == ActionCheckpoint {
			isNamed = isNamed || event.Details.Number == last.Number
			return
		}
		active = true
	})
	return active, isNamed, err
}

// after calls back with the entries that stand behind a head in its chain, or all if its seq is 0. It passes over lines
// that are none.
func after(ctx context.Context, s shelf, c Category, h Head, each func(Entry)) error {
	files, _, err := s.files(ctx, &verifier{}, c)
	if err != nil {
		return err
	}
	for _, f := range files {
		if h.Seq > 0 && f.name < h.File {
			continue
		}
		r, _, err := s.open(ctx, f)
		if err != nil {
			return err
		}
		if f.name == h.File {
			_, err = io.CopyN(io.Discard, r, h.End)
		}
		if err == nil {
			err = eachEntry(r, each)
		}
		if err = errors.Join(notEOF(err), r.Close()); err != nil {
			return err
		}
	}
	return nil
}
