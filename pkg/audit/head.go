package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
)

// Head is where a chain ends, or ended once. A chain only grows, so every head that was ever kept stays in it.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
	File string `json:"file"` // the day file that holds the entry, or the part in a bucket
	End  int64  `json:"end"`  // where in File its line ends, newline included
}

func (h Head) String() string { return fmt.Sprintf("seq %d, hash %s", h.Seq, h.Hash) }

func (h Head) validate(c Category) error {
	category, _, ok := parseFileName(h.File)
	if !ok {
		category, _, ok = parsePartName(h.File)
	}
	if !ok || category != c || h.Seq == 0 || h.End <= 0 {
		return errors.New("it is no head of this chain")
	}
	return nil
}

// HeadReader tells which head is kept for a category; false where none is.
type HeadReader interface {
	Load(ctx context.Context, category Category) (Head, bool, error)
}

// HeadStore keeps one head per category outside the log's directory, so that a cut tail shows even when the directory's
// own copy was changed with it. Save replaces what is kept, with a lower seq too:
// that is what follows a gap once the log has noted it. A Log calls both in the background, under a timeout, and goes on
// without them; any number of processes may call at once.
type HeadStore interface {
	HeadReader
	Save(ctx context.Context, category Category, head Head) error
}

// dirHeads keeps heads beside the log, as heads/{category}.json.
type dirHeads struct{ dir string }

func (d dirHeads) Load(_ context.Context, c Category) (Head, bool, error) {
	data, err := os.ReadFile(headPath(d.dir, c))
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, err
	}
	h, err := parseHead(data, c)
	return h, err == nil, err
}

func encodeHead(h Head) ([]byte, error) {
	data, err := json.Marshal(h)
	return append(data, '\n'), err
}

func parseHead(data []byte, c Category) (h Head, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&h); err == nil {
		err = h.validate(c)
	}
	if err != nil {
		return Head{}, fmt.Errorf("%w: %w", errBadHead, err)
	}
	return h, nil
}

// errBadHead is a head that no Log, and no Ledger, has written.
var errBadHead = errors.New("the kept head cannot be read")

func (d dirHeads) Save(_ context.Context, c Category, h Head) error {
	data, err := encodeHead(h)
	if err != nil {
		return err
	}
	if err := durable.Mkdir(d.dir+string(os.PathSeparator)+headsDir, durable.DirMode); err != nil {
		return err
	}
	return durable.WriteFile(headPath(d.dir, c), data, durable.FileMode)
}

// exclusive runs f while no other process keeps a head of the category here.
func (d dirHeads) exclusive(c Category, f func() error) error {
	lock := flock.New(headLockPath(d.dir, c), flock.SetPermissions(durable.FileMode))
	if err := lock.Lock(); err != nil {
		return err
	}
	return errors.Join(f(), lock.Unlock())
}
