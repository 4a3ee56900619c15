package audit

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/internal/durable"
)

// Checkpoint is part of Signable.
func (l *Log) Checkpoint(ctx context.Context, s note.Signer, o Occasion) (made bool, err error) {
	m := &maker{notary: dirNotary{dirShelf{l.cfg.Dir}, l}, known: l.checkpoint.Load(), signer: s, now: l.cfg.Now(), log: l.cfg.Logger}
	newest, made, err := m.make(ctx, o)
	l.checkpoint.Store(newest)
	return made, err
}

// Checkpoint is part of Signable.
func (l *Ledger) Checkpoint(ctx context.Context, s note.Signer, o Occasion) (made bool, err error) {
	m := &maker{notary: bucketNotary{bucketShelf{l.cfg.Bucket}, l}, known: l.checkpoint.Load(), signer: s, now: l.cfg.Now(), log: l.cfg.Logger}
	newest, made, err := m.make(ctx, o)
	l.checkpoint.Store(newest)
	return made, err
}

// dirNotary makes checkpoints of a log in a directory.
type dirNotary struct {
	dirShelf
	log *Log
}

func (n dirNotary) exclusive(ctx context.Context, f func() error) error {
	if err := durable.Mkdir(filepath.Join(n.dir, checkpointsDir), durable.DirMode); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(n.dir, checkpointsLock), flock.SetPermissions(durable.FileMode))
	if ok, err := lock.TryLockContext(ctx, 10*time.Millisecond); !ok {
		return err
	}
	return errors.Join(f(), lock.Unlock())
}

// end syncs the file in which the chain ends, whoever has written to it. What a crash may have left behind the last entry
// does not count.
func (n dirNotary) end(ctx context.Context, c Category) (Head, error) {
	files, newest, err := n.files(ctx, &verifier{}, c)
	if err != nil || len(files) == 0 || files[newest].size == 0 {
		return Head{}, err
	}
	f, err := os.OpenFile(filepath.Join(n.dir, files[newest].name), os.O_RDWR, 0)
	if err != nil {
		return Head{}, err
	}
	head, start, err := entryBefore(f, files[newest].size, c, files[newest].name)
	if errors.Is(err, errNoEntry) && start > 0 {
		head, _, err = entryBefore(f, start, c, files[newest].name)
	}
	if err == nil {
		err = datasync(f)
	}
	return head, errors.Join(err, f.Close())
}

func (n dirNotary) create(_ context.Context, number uint64, signed []byte) error {
	return durable.Create(filepath.Join(n.dir, checkpointsDir, checkpointName(number)), signed, durable.FileMode)
}

func (n dirNotary) name(ctx context.Context, what named) error {
	event := what.event()
	r, err := n.log.encode(&event)
	if err != nil {
		return err
	}
	return n.log.add(ctx, n.log.chains[Admin], r, true)
}

func (d dirShelf) checkpoint(_ context.Context, number uint64) ([]byte, error) {
	return os.ReadFile(filepath.Join(d.dir, checkpointsDir, checkpointName(number)))
}

// checkpoints lists the names in blocks, for there may be a great many.
func (d dirShelf) checkpoints(_ context.Context, each func(name string)) error {
	f, err := os.Open(filepath.Join(d.dir, checkpointsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for err == nil {
		var listing []os.DirEntry
		listing, err = f.ReadDir(1000)
		for _, entry := range listing {
			each(entry.Name())
		}
	}
	return errors.Join(notEOF(err), f.Close())
}

// bucketNotary makes checkpoints of a log in a bucket. Of several at once one succeeds, by the condition of its write.
type bucketNotary struct {
	bucketShelf
	ledger *Ledger
}

func (bucketNotary) exclusive(_ context.Context, f func() error) error { return f() }

func (n bucketNotary) end(ctx context.Context, c Category) (Head, error) {
	files, _, err := n.files(ctx, &verifier{}, c)
	if err != nil {
		return Head{}, err
	}
	for i := len(files) - 1; i >= 0; i-- {
		r, _, err := n.open(ctx, files[i])
		if err != nil {
			return Head{}, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return Head{}, err
		}
		p := part{data: data, ids: map[string]bool{}}
		_, p.number, _ = parsePartName(files[i].name)
		if p.scan(c); p.head.Seq > 0 {
			return p.head, nil
		}
	}
	return Head{}, nil
}

func checkpointKey(number uint64) string {
	return bucketPrefix + checkpointsDir + "/" + checkpointName(number)
}

func (n bucketNotary) create(ctx context.Context, number uint64, signed []byte) error {
	_, err := n.bucket.Write(ctx, checkpointKey(number), signed, "")
	return err
}

func (n bucketNotary) name(ctx context.Context, what named) error {
	event := what.event()
	r, err := n.ledger.encode(&event)
	if err != nil {
		return err
	}
	m := n.ledger.messageOf(Admin, r, n.ledger.cfg.Now())
	return n.ledger.post(ctx, map[Category]*posting{Admin: newPosting(m)})[Admin]
}

func (s bucketShelf) checkpoint(ctx context.Context, number uint64) ([]byte, error) {
	data, _, err := s.bucket.Read(ctx, checkpointKey(number))
	return data, err
}

func (s bucketShelf) checkpoints(ctx context.Context, each func(name string)) error {
	prefix := bucketPrefix + checkpointsDir + "/"
	keys, err := s.bucket.List(ctx, prefix)
	for _, key := range keys {
		each(strings.TrimPrefix(key, prefix))
	}
	return err
}
