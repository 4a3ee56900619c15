package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pulsevault/pkg/internal/durable"
)

// write appends the notes, then the group, to the day's file.
func (c *chain) write(group []*request, notes []remark) error {
	now := c.log.cfg.Now().UTC()
	if err := c.turnTo(now.Format(dateForm)); err != nil {
		return err
	}
	timestamp := now.Format(timeForm)
	head, buf := c.head, c.buf[:0]
	add := func(id string, event []byte) {
		e := Entry{Seq: head.Seq + 1, EventID: id, Category: c.category, PrevHash: head.Hash, Event: event}
		buf, head.Hash = appendLine(buf, &e, timestamp)
		head.Seq++
	}
	for _, n := range notes {
		r, err := n.request(c.log.scribe)
		if err != nil {
			return err
		}
		add(r.id, r.event.bytes())
		c.log.recycle(r)
	}
	for _, r := range group {
		add(r.id, r.event.bytes())
	}
	if cap(buf) <= 1<<20 {
		c.buf = buf
	}
	if err := c.put(buf); err != nil {
		return err
	}
	c.size += int64(len(buf))
	head.File, head.End = c.name, c.size
	c.head, c.last = head, head
	return nil
}

// put writes buf at the end of the file. What could be written only in part is cut off again, so that the chain stays
// whole; should that fail too, the rest is a torn line for whoever takes up the chain next.
func (c *chain) put(buf []byte) error {
	_, err := c.file.Write(buf)
	if err == nil {
		return nil
	}
	if cutErr := c.file.Truncate(c.size); cutErr != nil {
		c.log.cfg.Logger.Error("audit: a failed write could not be cut back", "category", c.category, "err", cutErr)
	}
	return fmt.Errorf("write: %w", err)
}

// turnTo makes file the one for date. A clock that has gone back changes nothing: days only go forward.
func (c *chain) turnTo(date string) error {
	name := fileName(c.category, date)
	if c.file != nil && name <= c.name {
		return nil
	}
	// The old file first: what follows must not be on disk before what it follows.
	if err := c.exchange(nil, ""); err != nil {
		return err
	}
	path := filepath.Join(c.log.cfg.Dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|os.O_APPEND, durable.FileMode)
	if err != nil {
		return fmt.Errorf("begin the day: %w", err)
	}
	if err := durable.SyncDir(c.log.cfg.Dir); err != nil {
		return errors.Join(fmt.Errorf("begin the day: %w", err), f.Close())
	}
	return c.exchange(f, name)
}

// exchange syncs and closes the file and goes on with another, whose size it takes over. c.name stays what it was when
// there is no other.
func (c *chain) exchange(f *os.File, name string) error {
	c.fileMu.Lock()
	defer c.fileMu.Unlock()
	var err error
	if c.file != nil {
		err = errors.Join(c.force(), c.file.Close())
		c.syncErr = errors.Join(c.syncErr, err)
	}
	c.file, c.info, c.size = f, nil, 0
	if f == nil || err != nil {
		return err
	}
	c.name = name
	if c.info, err = f.Stat(); err == nil {
		c.size = c.info.Size()
	}
	c.forced = c.size
	return err
}
