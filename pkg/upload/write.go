package upload

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/vault"
)

// checkpoint is how many bytes of a piece come in before the record moves on within it.
const checkpoint = 64 << 20

// writePiece adds what src gives to the upload and returns how many bytes it took. Those bytes, the record and the hash
// state are on disk when it returns without error. On an error the record stands at an offset up to which everything is
// on disk; the bytes beyond do not count.
func (d *Dir) writePiece(ctx context.Context, u *vault.Upload, src io.Reader) (int64, error) {
	f, err := openData(d.DataPath(u.UploadID))
	if err != nil {
		return 0, fmt.Errorf("open upload %s: %w", u.UploadID, err)
	}
	p := &piece{dir: d, file: f, upload: *u, start: u.Offset}
	n, err := p.take(ctx, src)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	*u = p.upload
	return n, nil
}

// piece is one piece on its way in. One goroutine reads from the client, one hashes and writes, and one at a time makes a
// checkpoint durable, so that the client, the processor and the disk all work at once.
type piece struct {
	dir     *Dir
	file    *dataFile
	hash    hash.Hash
	start   int64        // offset at which the piece begins
	written int64        // bytes of it that are written and hashed
	upload  vault.Upload // the record, as far as it is on disk
	lost    bool         // nobody knows what is on disk: a sync failed, and a later one would not say
}

func (p *piece) take(ctx context.Context, src io.Reader) (int64, error) {
	if err := p.cutTail(); err != nil {
		return 0, err
	}
	var err error
	if p.hash, err = restoreHash(p.upload); err != nil {
		return 0, err
	}
	full, empty := make(chan []byte, blocks), make(chan []byte, blocks)
	for range blocks {
		empty <- nil
	}
	done := make(chan error, 1)
	go func() { done <- p.drain(ctx, full, empty) }()
	readErr := readBlocks(src, p.start, p.upload.Size-p.start, full, empty, done)
	close(full)
	// After a write that failed, such as on a full disk, what was written before it still counts.
	if err := errors.Join(<-done, p.acknowledge(ctx)); err != nil {
		return 0, noSpace(err)
	}
	return p.written, readErr
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

// drain writes and hashes what comes through full, and lets checkpoints be made beside it.
func (p *piece) drain(ctx context.Context, full <-chan []byte, empty chan<- []byte) error {
	checkpoints := make(chan error, 1)
	checkpoints <- nil // none is under way
	last := int64(0)
	for b := range full {
		if err := p.write(b); err != nil {
			return errors.Join(err, <-checkpoints)
		}
		empty <- b
		if p.written-last < checkpoint {
			continue
		}
		select {
		case err := <-checkpoints:
			if err != nil {
				return err
			}
			last = p.written
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

// write writes and hashes a block, both at once.
func (p *piece) write(b []byte) error {
	before, err := marshalHash(p.hash)
	if err != nil {
		return err
	}
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		p.hash.Write(b) // never fails
	}()
	n, err := p.file.WriteAt(b, p.start+p.written)
	<-hashed
	if err == nil {
		p.written += int64(n)
		return nil
	}
	if restoreErr := unmarshalHash(p.hash, before); restoreErr != nil {
		p.lost = true
		return errors.Join(err, restoreErr)
	}
	p.hash.Write(b[:n])
	p.written += int64(n)
	return fmt.Errorf("write to upload: %w", err)
}

// state is the record as it will be when everything written so far is on disk.
func (p *piece) state() (vault.Upload, error) {
	state, err := marshalHash(p.hash)
	if err != nil {
		return vault.Upload{}, err
	}
	u := p.upload
	u.Offset, u.HashState, u.ExpiresAt = p.start+p.written, state, p.dir.Now().UTC().Add(p.dir.Expiry)
	return u, nil
}

// commit makes the bytes up to next's offset durable, then the record that says so.
func (p *piece) commit(ctx context.Context, next vault.Upload) error {
	if err := syncData(p.file.File); err != nil {
		p.lost = true
		return fmt.Errorf("sync upload %s: %w", next.UploadID, err)
	}
	failpoint.Hit("upload/synced")
	if err := p.dir.Save(ctx, next); err != nil {
		return err
	}
	p.upload = next
	return nil
}

// acknowledge commits the end of the piece.
func (p *piece) acknowledge(ctx context.Context) error {
	if p.written == 0 || p.lost {
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
	return nil
}
