package upload

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/vault"
)

// checkpoint is how many bytes of a piece come in before the record moves on within it.
const checkpoint = 64 << 20

// Append writes a piece at the record's offset.
func (d *Dir) Append(ctx context.Context, u *vault.Upload, src io.Reader, claim *Claim) (int64, error) {
	f, err := openData(d.DataPath(u.UploadID))
	if err != nil {
		return 0, fmt.Errorf("open upload %s: %w", u.UploadID, err)
	}
	p := &piece{dir: d, file: f, upload: *u, start: u.Offset}
	n, err := p.take(ctx, src, claim)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	*u = p.upload
	return n, nil
}

// piece is one piece on its way in. One goroutine reads from the client, the next writes, the third hashes what is
// written, and one at a time makes a checkpoint durable, so that the client, the processor and the disk all work at once.
type piece struct {
	dir    *Dir
	file   *dataFile
	hash   hash.Hash
	proof  *proof       // of what the client says of the piece, if it does
	start  int64        // offset at which the piece begins
	taken  int64        // bytes of it that are written and hashed
	upload vault.Upload // the record, as far as it is on disk
	lost   bool         // nobody knows what is on disk: a sync failed, and a later one would not say
}

func (p *piece) take(ctx context.Context, src io.Reader, claim *Claim) (int64, error) {
	if err := p.cutTail(); err != nil {
		return 0, err
	}
	var err error
	if p.hash, err = restoreHash(p.upload); err != nil {
		return 0, err
	}
	p.proof = claim.prove(p.start, p.hash)
	// The blocks go round. Each channel has room for all of them, so nobody ever waits to pass one on.
	empty, full, written := make(chan []byte, blocks), make(chan []byte, blocks), make(chan []byte, blocks)
	for range blocks {
		empty <- nil
	}
	failed := make(chan struct{}, 2)
	var writeErr, digestErr error
	var stages sync.WaitGroup
	stages.Go(func() {
		if writeErr = p.write(full, written); writeErr != nil {
			failed <- struct{}{}
		}
	})
	stages.Go(func() {
		if digestErr = p.digest(ctx, written, empty); digestErr != nil {
			failed <- struct{}{}
		}
	})
	readErr := readBlocks(p.proof.tee(src), p.start, p.upload.Size-p.start, full, empty, failed)
	close(full)
	stages.Wait()
	if err := p.settle(ctx, errors.Join(writeErr, digestErr), readErr); err != nil {
		p.giveBack(ctx)
		return 0, noSpace(err)
	}
	return p.taken, readErr
}

// giveBack cuts off what lies beyond the record's offset after a failure: nobody was told of it, and on a full disk it would
// keep everybody from writing, the audit log too. The record is read again, because one whose replacing failed may have been
// replaced: when its folder could not be synced, or when an answer was lost on its way from a file server. As it will be
// acknowledged, it is saved once more, to be on disk.
func (p *piece) giveBack(ctx context.Context) {
	now, err := p.dir.Get(ctx, p.upload.UploadID)
	if err == nil && now.Offset > p.upload.Offset {
		err = p.dir.Save(ctx, &now)
	}
	if err == nil {
		_ = p.file.Truncate(now.Offset)
	}
}

// settle acknowledges what counts of a piece: after a write that failed, such as on a full disk, what was written before
// it, and of a piece with a checksum everything or nothing.
func (p *piece) settle(ctx context.Context, writeErr, readErr error) error {
	if p.proof == nil {
		return errors.Join(writeErr, p.acknowledge(ctx))
	}
	if err := errors.Join(writeErr, readErr); err != nil {
		return err
	}
	if err := p.proof.verify(); err != nil {
		return err
	}
	return p.acknowledge(ctx)
}

// cutTail removes what lies beyond the record's offset: the end of a piece that was never acknowledged.
func (p *piece) cutTail() error {
	info, err := p.file.Stat()
	if err != nil {
		return fmt.Errorf("upload %s: %w", p.upload.UploadID, err)
	}
	if info.Size() < p.start {
		return fmt.Errorf("upload %s: its record says %d bytes, the file has %d", p.upload.UploadID, p.start, info.Size())
	}
	if info.Size() == p.start {
		return nil
	}
	return p.file.Truncate(p.start)
}

// write writes the blocks of full and passes on what is written. After an error that is what came before it.
func (p *piece) write(full <-chan []byte, written chan<- []byte) error {
	defer close(written)
	offset := p.start
	for b := range full {
		n, err := p.file.WriteAt(b, offset)
		if n > 0 {
			written <- b[:n]
		}
		if err != nil {
			return fmt.Errorf("write to upload: %w", err)
		}
		offset += int64(n)
	}
	return nil
}

// digest hashes what is written, gives the blocks back, and lets checkpoints be made beside it, unless the piece has yet to
// match its checksum.
func (p *piece) digest(ctx context.Context, written <-chan []byte, empty chan<- []byte) error {
	checkpoints := make(chan error, 1)
	checkpoints <- nil // none is under way
	last := int64(0)
	for b := range written {
		p.hash.Write(b) // never fails
		p.taken += int64(len(b))
		empty <- b
		if p.proof != nil || p.taken-last < checkpoint {
			continue
		}
		select {
		case err := <-checkpoints:
			if err != nil {
				return err
			}
			last = p.taken
			next, err := p.state()
			if err != nil {
				return err
			}
			go func() { checkpoints <- p.commit(ctx, next) }()
		default: // the disk is slower than the client; the next one will do
		}
	}
	return <-checkpoints
}

// state is the record as it will be when everything taken so far is on disk.
func (p *piece) state() (vault.Upload, error) {
	state, err := marshalHash(p.hash)
	if err != nil {
		return vault.Upload{}, err
	}
	u := p.upload
	u.Offset, u.HashState, u.ExpiresAt = p.start+p.taken, state, p.dir.Now().UTC().Add(p.dir.Expiry)
	return u, nil
}

// commit makes the bytes up to next's offset durable, then the record that says so.
func (p *piece) commit(ctx context.Context, next vault.Upload) error {
	if err := syncData(p.file.File); err != nil {
		p.lost = true
		return fmt.Errorf("sync upload %s: %w", next.UploadID, err)
	}
	failpoint.Hit("upload/synced")
	if err := p.dir.Save(ctx, &next); err != nil {
		return err
	}
	p.upload = next
	return nil
}

// acknowledge commits the end of the piece.
func (p *piece) acknowledge(ctx context.Context) error {
	if p.taken == 0 || p.lost {
		return nil
	}
	failpoint.Hit("upload/written")
	next, err := p.state()
	if err != nil {
		return err
	}
	if err := p.commit(ctx, next); err != nil {
		return err
	}
	failpoint.Hit("upload/recorded")
	if next.Complete() {
		failpoint.Hit("upload/completed")
	}
	return nil
}
