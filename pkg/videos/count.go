package videos

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
)

const (
	// countBatch is how many records are read before their videos go into the index: what a crash costs, and no more.
	countBatch = 200
	// keepEvery is how often the right to count is prolonged, a third of its life.
	keepEvery = 10 * time.Second
	// soon is how long a request takes part in completing the index, and keepOff for how long requests do not after one for
	// which that was not enough.
	soon    = time.Second
	keepOff = 2 * time.Minute
)

// missed remembers that a video of this process's did not get into the index.
type missed struct{ some atomic.Bool }

func (m *missed) note() { m.some.Store(true) }

// Complete compares the index with the store, if it is incomplete or that was an hour ago, and returns how many videos it
// has added and removed. It reads the records of those only that the index lacks. One process does it at a time; where that
// is another one, it does nothing.
func (c *Collection) Complete(ctx context.Context) (changed int, err error) {
	again := c.missed.some.Swap(false)
	count, ok, err := c.Index.BeginCount(ctx, again)
	if err != nil || !ok {
		if again {
			c.missed.note()
		}
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go keep(ctx, cancel, count)
	changed, err = c.compare(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil && again {
		c.missed.note()
	}
	return changed, errors.Join(err, count.End(ctx, err == nil))
}

// completeSoon takes part in completing the index for a moment. If that was not long enough, this process's requests leave it
// to the sweep for a while, which they would only keep from it.
func (c *Collection) completeSoon(ctx context.Context) error {
	if now := c.Now().Unix(); now < c.tooMany.Load() {
		return errCounting()
	}
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	_, err := c.Complete(ctx)
	if ctx.Err() != nil {
		c.tooMany.Store(c.Now().Add(keepOff).Unix())
		return errCounting().Because(err)
	}
	return err
}

// keep prolongs the right to count until ctx ends, and cancels it when the right is lost.
func keep(ctx context.Context, cancel context.CancelCauseFunc, count redisdb.Count) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := count.Keep(ctx); err != nil {
				cancel(err)
				return
			}
		}
	}
}

// compare puts into the index what it lacks, and removes from it what is not there. The index is asked before the store: a
// video gets its record before it gets into the index, so one that is in the index and then not in the store is gone.
func (c *Collection) compare(ctx context.Context) (changed int, err error) {
	indexed, err := c.Index.All(ctx)
	if err != nil {
		return 0, err
	}
	stored, err := c.Store.VideoIDs(ctx)
	if err != nil {
		return 0, err
	}
	lacking, gone := without(stored, indexed), without(indexed, stored)
	if err := c.Index.Remove(ctx, gone...); err != nil {
		return 0, err
	}
	for some := range slices.Chunk(lacking, countBatch) {
		added, err := c.enlistAll(ctx, some)
		if changed += added; err != nil {
			return changed, err
		}
	}
	return changed + len(gone), nil
}

// without returns what of some sorted ids is not among others.
func without(some, others []vault.VideoID) (rest []vault.VideoID) {
	i := 0
	for _, id := range some {
		for i < len(others) && others[i] < id {
			i++
		}
		if i == len(others) || others[i] != id {
			rest = append(rest, id)
		}
	}
	return rest
}

// enlistAll reads the records of some videos and puts them into the index. Those that somebody has begun to remove
// meanwhile are taken out again: what says so stays for long after they are gone.
func (c *Collection) enlistAll(ctx context.Context, ids []vault.VideoID) (added int, err error) {
	owned := make([]redisdb.Owned, len(ids))
	readers, readCtx := errgroup.WithContext(ctx)
	readers.SetLimit(looksAtOnce)
	for i, id := range ids {
		readers.Go(func() error {
			v, _, err := c.look(readCtx, id)
			if err == nil {
				owned[i] = redisdb.Owned{ID: id, Owner: v.UserID}
			} else if vault.KindOf(err) == vault.NotFound { // not finalized yet, or gone
				err = nil
			}
			return err
		})
	}
	if err := readers.Wait(); err != nil {
		return 0, err
	}
	owned = slices.DeleteFunc(owned, func(o redisdb.Owned) bool { return o.ID == "" })
	if err := c.Index.Add(ctx, owned...); err != nil {
		return 0, err
	}
	removed, err := c.deletions(ctx)
	if err != nil {
		return 0, err
	}
	removed = slices.DeleteFunc(removed, func(id vault.VideoID) bool { return !slices.Contains(ids, id) })
	return len(owned), c.Index.Remove(ctx, removed...)
}
