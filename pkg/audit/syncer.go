package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func (c *chain) runSyncer() {
	defer close(c.synced)
	for {
		select {
		case <-c.syncNow:
		case <-c.syncSoon:
			c.delay()
		case <-c.written:
			c.syncOnce()
			return
		}
		c.syncOnce()
	}
}

// delay gathers noted entries until somebody waits for the disk.
func (c *chain) delay() {
	timer := time.NewTimer(flushAfter)
	defer timer.Stop()
	select {
	case <-c.syncNow:
	case <-timer.C:
	case <-c.written:
	}
}

// syncOnce forces to disk whatever was written before it was called, tells those who wait, and has the head kept.
func (c *chain) syncOnce() {
	c.fileMu.Lock()
	c.mu.Lock()
	callers, head, gaps, dirty := c.unsynced, c.newest, c.gaps, c.dirty
	c.unsynced, c.dirty = nil, false
	c.mu.Unlock()
	err := c.syncErr
	c.syncErr = nil
	if dirty && c.file != nil && err == nil {
		start := time.Now()
		err = c.force()
		c.log.cfg.Metrics.synced(time.Since(start))
	}
	c.fileMu.Unlock()

	if err != nil {
		err = fmt.Errorf("audit: sync %s: %w", c.category, err)
		c.log.cfg.Metrics.failed(c.category, max(1, len(callers)))
		if len(callers) == 0 { // entries were noted, and nobody is left to hear of it
			c.log.cfg.Logger.Error("audit: noted entries may not be on disk", "category", c.category, "err", err)
		}
	}
	for _, r := range callers {
		r.done <- err
	}
	if err == nil && dirty && head.Seq > 0 {
		for _, k := range c.keepers {
			k.offer(head, gaps)
		}
	}
}

// stretch is a part of a day file.
type stretch struct {
	name     string // empty for none
	from, to int64
}

// force forces the entries written to file to disk; fileMu is held. The system tells of a failure once: what it could not
// write then may count as written, and the next sync would go well without it. So after a failure the same bytes are
// written again first, lest entries that follow are acknowledged and those before them are not on disk.
func (c *chain) force() error {
	c.mu.Lock()
	end := c.forced
	if c.newest.File == c.name {
		end = max(end, c.newest.End)
	}
	c.mu.Unlock()
	if c.doubt.name == c.name {
		c.doubt.to = end // also what was being written while the sync failed
	}
	if err := c.writeAgain(); err != nil {
		return fmt.Errorf("write again what could not be synced: %w", err)
	}
	if err := datasync(c.file); err != nil {
		c.doubt = stretch{c.name, c.forced, end}
		return err
	}
	c.forced = end
	return nil
}

// writeAgain writes what is in doubt over itself and syncs it. Where it is gone, that is not for this process to mend, nor
// a reason to refuse entries: Verify reports it.
func (c *chain) writeAgain() error {
	d := c.doubt
	if d.name == "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(c.log.cfg.Dir, d.name), os.O_RDWR, 0)
	if err == nil {
		data := make([]byte, d.to-d.from)
		if _, err = f.ReadAt(data, d.from); err == nil {
			_, err = f.WriteAt(data, d.from)
		}
		if err == nil {
			err = datasync(f)
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.EOF) {
		c.doubt = stretch{}
		return nil
	}
	return err
}
