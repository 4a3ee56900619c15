package audit

import (
	"fmt"
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
		err = datasync(c.file)
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
