package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"pulsevault/pkg/internal/durable"
)

// The actions of entries that the log makes about itself. Append refuses them.
const (
	ActionTornLine   = "audit.torn_line"  // the end of a file was no line; it was moved aside
	ActionGap        = "audit.gap"        // a kept head is not in the log: entries were lost or changed
	ActionCheckpoint = "audit.checkpoint" // in the chain admin: a checkpoint was made, with its number and hash
)

var ownActions = []string{ActionTornLine, ActionGap, ActionCheckpoint}

// catchUpLimit is how much of what other processes have appended is checked line by line before going on from it. After
// more, the chain is taken up afresh, which costs the same however long the log is.
const catchUpLimit = 4 << 20

func (n remark) request(s *scribe) (*request, error) {
	return s.encode(&Event{Action: n.action, Details: n.details})
}

// locate makes sure that head, file and size are where the chain ends now. It returns the note to write if a head that
// was kept is not in the log. The lock is held.
func (c *chain) locate(claims []claim) (missing *remark, err error) {
	fresh := c.info == nil
	if !fresh {
		size, same, err := c.look()
		if err != nil {
			return nil, err
		}
		fresh = !same || size < c.size || (size > c.size && !c.catchUp(size))
	}
	kept := make([]Head, 0, len(claims)+2)
	for _, k := range claims {
		kept = append(kept, k.head)
	}
	if fresh {
		kept = c.addKept(kept)
		if err := c.takeUp(); err != nil {
			return nil, fmt.Errorf("take up the chain: %w", err)
		}
	}
	return c.findGap(kept)
}

// addKept adds the heads that are at hand: this process's own, and the directory's. A head file that cannot be read is
// as good as none, and no reason to refuse entries; Verify reports it.
func (c *chain) addKept(kept []Head) []Head {
	if c.last.Seq > 0 {
		kept = append(kept, c.last)
	}
	h, found, err := dirHeads{c.log.cfg.Dir}.Load(context.Background(), c.category)
	if err != nil {
		c.log.cfg.Logger.Warn("audit: kept head cannot be read", "category", c.category, "err", err)
	}
	if found {
		kept = append(kept, h)
	}
	return kept
}

// listing remembers what the directory was like when file was found to be the newest of its chain there.
type listing struct {
	dir os.FileInfo // nil if it never was
	at  time.Time
}

// holds reports whether nothing can have been made, removed or renamed in the directory since. Its time tells, except that
// two changes within the file system's clock tick share one: a listing counts only if the last change was well before it.
func (l *listing) holds(dir os.FileInfo) bool {
	return l.dir != nil && l.at.Sub(l.dir.ModTime()) > 2*time.Second && dir.ModTime().Equal(l.dir.ModTime()) && os.SameFile(dir, l.dir)
}

// look reports whether file is still the newest of its chain, and its size now.
func (c *chain) look() (size int64, same bool, err error) {
	if c.listing.holds(c.dir) {
		info, err := c.file.Stat()
		if err != nil {
			return 0, false, err
		}
		return info.Size(), true, nil
	}
	info, err := os.Stat(filepath.Join(c.log.cfg.Dir, c.name))
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	newest, err := c.isNewest()
	return info.Size(), newest && os.SameFile(info, c.info), err
}

// isNewest asks whether another process has begun a new day.
func (c *chain) isNewest() (bool, error) {
	at := time.Now()
	names, err := dayFiles(c.log.cfg.Dir, c.category)
	if err != nil || len(names) == 0 || names[len(names)-1] != c.name {
		return false, err
	}
	c.listing = listing{c.dir, at}
	return true, nil
}

// catchUp goes over what other processes have appended. It fails when that does not follow on from what this process
// knows, line by line.
func (c *chain) catchUp(size int64) bool {
	if size-c.size > catchUpLimit || c.head.End != c.size {
		return false
	}
	data := make([]byte, size-c.size)
	if _, err := c.file.ReadAt(data, c.size); err != nil {
		return false
	}
	head, err := follow(c.head, data, c.category, c.name)
	if err != nil {
		return false
	}
	c.head, c.last, c.size = head, head, size
	return true
}

// takeUp finds the end of the chain on disk.
func (c *chain) takeUp() error {
	if err := c.exchange(nil, ""); err != nil {
		return err
	}
	dir := c.log.cfg.Dir
	if err := makeDirs(dir); err != nil {
		return err
	}
	// Whoever began the newest file may have been killed before its name was on disk.
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	names, err := dayFiles(dir, c.category)
	if err != nil {
		return err
	}
	c.head = Head{}
	for ; len(names) > 0; names = names[:len(names)-1] {
		name := names[len(names)-1]
		if err := c.openFile(name); err != nil {
			return err
		}
		if c.head, err = c.lastEntry(); err != nil {
			return err
		}
		if c.size > 0 {
			break
		}
		// A crash between beginning a day and writing its first entry leaves an empty file.
		if err := errors.Join(c.exchange(nil, ""), durable.Remove(filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	if c.head.Seq == 0 && len(names) > 0 {
		c.head, err = salvage(dir, c.category, names)
	}
	return err
}

func (c *chain) openFile(name string) error {
	f, err := os.OpenFile(filepath.Join(c.log.cfg.Dir, name), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	return c.exchange(f, name)
}

// lastEntry reads the head from the end of file. A last line that is none is moved aside first; only the last one is
// treated so. The head is empty if the file is, or if the line before it is bad too.
func (c *chain) lastEntry() (Head, error) {
	head, start, err := entryBefore(c.file, c.size, c.category, c.name)
	if errors.Is(err, errNoEntry) && c.size > 0 {
		if err := c.moveAside(start); err != nil {
			return Head{}, fmt.Errorf("move a torn line aside: %w", err)
		}
		head, _, err = entryBefore(c.file, c.size, c.category, c.name)
	}
	if errors.Is(err, errNoEntry) {
		return Head{}, nil
	}
	return head, err
}

// moveAside copies what lies beyond offset into a file of its own and cuts it off. The copy is on disk before the cut.
func (c *chain) moveAside(offset int64) error {
	stem := fmt.Sprintf("%s-%d", c.name[:len(c.name)-len(logExt)], offset)
	aside, err := createNew(filepath.Join(c.log.cfg.Dir, tornDir), stem, ".bin")
	if err != nil {
		return err
	}
	bytes := c.size - offset
	_, err = io.Copy(aside, io.NewSectionReader(c.file, offset, bytes))
	if err == nil {
		err = aside.Sync()
	}
	if err = errors.Join(err, aside.Close()); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Join(c.log.cfg.Dir, tornDir)); err != nil {
		return err
	}
	if err := c.file.Truncate(offset); err != nil {
		return err
	}
	c.size = offset
	name := filepath.Base(aside.Name())
	c.owed = append(c.owed, remark{ActionTornLine, map[string]any{
		"file": c.name, "offset": offset, "bytes": bytes, "aside": tornDir + "/" + name,
	}})
	c.log.cfg.Logger.Warn("audit: torn line moved aside", "category", c.category, "file", c.name, "offset", offset, "bytes", bytes)
	return nil
}

// createNew makes dir/stem.ext, or the first of dir/stem-2.ext, dir/stem-3.ext … that is not there yet.
func createNew(dir, stem, ext string) (*os.File, error) {
	name := stem + ext
	for n := 2; ; n++ {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, durable.FileMode)
		if !errors.Is(err, os.ErrExist) {
			return f, err
		}
		name = fmt.Sprintf("%s-%d%s", stem, n, ext)
	}
}
