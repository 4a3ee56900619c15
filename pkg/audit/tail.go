package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// errNoEntry is what stands at a place where no entry ends.
var errNoEntry = errors.New("no entry ends there")

// afterNewline returns the offset behind the last newline before end, 0 if there is none.
func afterNewline(r io.ReaderAt, end int64) (int64, error) {
	block := make([]byte, 4<<10)
	for end > 0 {
		n := min(end, int64(len(block)))
		if _, err := r.ReadAt(block[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(block[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// entryBefore reads the entry whose line ends at end, and says where the line starts. Where that is no entry of the
// chain, the error is errNoEntry and start still says where the bad line starts.
func entryBefore(r io.ReaderAt, end int64, category Category, name string) (h Head, start int64, err error) {
	if end == 0 {
		return Head{}, 0, errNoEntry
	}
	if start, err = afterNewline(r, end); err != nil {
		return Head{}, 0, err
	}
	if start < end { // no newline at the end
		return Head{}, start, errNoEntry
	}
	if start, err = afterNewline(r, end-1); err != nil {
		return Head{}, 0, err
	}
	if end-start > MaxLine {
		return Head{}, start, errNoEntry
	}
	line := make([]byte, end-1-start)
	if _, err := r.ReadAt(line, start); err != nil {
		return Head{}, 0, err
	}
	e, err := ParseLine(line)
	if err != nil || e.Category != category {
		return Head{}, start, errNoEntry
	}
	return Head{Seq: e.Seq, Hash: e.Hash, File: name, End: end}, start, nil
}

// follow goes over data, which stands in the file called name behind head, and returns the head at its end.
func follow(head Head, data []byte, category Category, name string) (Head, error) {
	for len(data) > 0 {
		line, rest, ok := bytes.Cut(data, []byte{'\n'})
		if !ok {
			return Head{}, errNoEntry
		}
		e, err := ParseLine(line)
		if err != nil {
			return Head{}, err
		}
		if e.Category != category || e.Seq != head.Seq+1 || e.PrevHash != head.Hash {
			return Head{}, fmt.Errorf("entry %d does not follow entry %d", e.Seq, head.Seq)
		}
		head = Head{Seq: e.Seq, Hash: e.Hash, File: name, End: head.End + int64(len(line)) + 1}
		data = rest
	}
	return head, nil
}

// findGap looks for the kept heads in the log and returns a note about the furthest one that is not there.
func (c *chain) findGap(kept []Head) (*remark, error) {
	lost, err := furthestLost(kept, c.contains)
	if lost == nil || err != nil {
		return nil, err
	}
	c.log.cfg.Logger.Error(entriesMissing, "category", c.category, "expectedSeq", lost.Seq, "foundSeq", c.head.Seq)
	return gapNote(*lost, c.head), nil
}

const entriesMissing = "audit: entries are missing from the log or were changed"

// furthestLost returns the kept head with the highest seq that is not in the log, nil if all are.
func furthestLost(kept []Head, contains func(Head) (bool, error)) (lost *Head, err error) {
	for i, h := range kept {
		there, err := contains(h)
		if err != nil {
			return nil, fmt.Errorf("look for a kept head: %w", err)
		}
		if !there && (lost == nil || h.Seq > lost.Seq) {
			lost = &kept[i]
		}
	}
	return lost, nil
}

func gapNote(lost, end Head) *remark {
	return &remark{ActionGap, map[string]any{
		"expectedSeq": lost.Seq, "expectedHash": lost.Hash, "expectedFile": lost.File,
		"foundSeq": end.Seq, "foundHash": end.Hash, "foundFile": end.File,
	}}
}

// contains reports whether h is in the log. It looks at one place only: the log is never rewritten, so there it is or
// nowhere.
func (c *chain) contains(h Head) (bool, error) {
	if h == c.head {
		return true, nil
	}
	f, err := os.Open(filepath.Join(c.log.cfg.Dir, h.File))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < h.End {
		return false, err
	}
	found, _, err := entryBefore(f, h.End, c.category, h.File)
	if errors.Is(err, errNoEntry) {
		return false, nil
	}
	return found == h, err
}

// salvage returns the last entry that can be read, of files whose end cannot. Going on from there, with an entry that
// says so if a kept head was lost, beats refusing service; Verify reports the bad lines for ever.
func salvage(dir string, category Category, names []string) (Head, error) {
	for i := len(names) - 1; i >= 0; i-- {
		f, err := os.Open(filepath.Join(dir, names[i]))
		if err != nil {
			return Head{}, err
		}
		var last Head
		var end int64
		lines := bufio.NewReaderSize(f, MaxLine)
		for err == nil {
			var line []byte
			line, err = lines.ReadSlice('\n')
			end += int64(len(line))
			if errors.Is(err, bufio.ErrBufferFull) {
				err = nil
				continue
			}
			if e, bad := ParseLine(bytes.TrimSuffix(line, []byte{'\n'})); err == nil && bad == nil && e.Category == category {
				last = Head{Seq: e.Seq, Hash: e.Hash, File: names[i], End: end}
			}
		}
		if err = errors.Join(f.Close(), notEOF(err)); err != nil || last.Seq > 0 {
			return last, err
		}
	}
	return Head{}, nil
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
