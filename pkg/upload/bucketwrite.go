package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Append gathers bytes into parts. Whenever one is full it goes to S3, and then the record moves on, of a piece with a
// checksum only at its end; what is left at the end, too short for a part, becomes an object of its own, with which the
// next piece begins.
func (b *Bucket) Append(ctx context.Context, u *vault.Upload, src io.Reader, claim *Claim) (int64, error) {
	h, err := restoreHash(*u)
	if err != nil {
		return 0, err
	}
	// The client may go: what has arrived by then is kept.
	p := &parcel{
		bucket: b, ctx: context.WithoutCancel(ctx), upload: u, sent: *u.Multipart,
		hash: h, proof: claim.prove(u.Offset, h), start: u.Offset, at: u.Offset,
	}
	if err := p.open(); err != nil {
		return 0, err
	}
	readErr, err := p.take(p.proof.tee(src))
	if p.proof != nil {
		err = errors.Join(err, readErr)
	}
	if err == nil {
		err = p.proof.verify()
	}
	if err == nil {
		err = p.finish()
	}
	if err != nil {
		return 0, err
	}
	return p.at - p.start, readErr
}

// parcel is one piece on its way into a bucket.
type parcel struct {
	bucket *Bucket
	ctx    context.Context
	upload *vault.Upload   // the record, as far as it is in the bucket
	sent   vault.Multipart // what is in the bucket; of a piece with a checksum the record does not know it yet
	hash   hash.Hash
	proof  *proof
	start  int64 // offset at which the piece begins
	at     int64 // offset up to which bytes are taken and hashed
	buf    []byte
	head   []byte
}

// open gets the bytes behind the last part, which belong to the next one.
func (p *parcel) open() error {
	m := p.upload.Multipart
	p.buf = make([]byte, 0, min(p.partSize(), p.upload.Size-p.start+m.TailSize))
	p.head = m.Head
	if m.Tail == "" {
		return nil
	}
	tail, _, err := p.bucket.Media.Read(p.ctx, m.Tail)
	if errors.Is(err, fs.ErrNotExist) && p.overtaken() {
		return vault.Errorf(vault.Conflict, "upload_changed", "the upload was continued by another request; ask for its offset and go on from there")
	}
	if err != nil {
		return fmt.Errorf("resume upload %s: %w", p.upload.UploadID, err)
	}
	if int64(len(tail)) != m.TailSize {
		return fmt.Errorf("resume upload %s: %d bytes are kept, its record says %d", p.upload.UploadID, len(tail), m.TailSize)
	}
	p.buf = append(p.buf, tail...)
	return nil
}

// overtaken reports whether somebody else has replaced the record since it was read.
func (p *parcel) overtaken() bool {
	now, err := p.bucket.Media.Stamp(p.ctx, recordKey(p.upload.UploadID))
	return err == nil && now != p.upload.Version
}

// partSize is what a full part has: more than usual only where there would be too many.
func (p *parcel) partSize() int64 {
	const step = 1 << 20
	least := (p.upload.Size + maxParts - 1) / maxParts
	return max(partSize, (least+step-1)/step*step)
}

// take reads src to its end and sends off what is full.
func (p *parcel) take(src io.Reader) (readErr, err error) {
	for {
		if len(p.buf) == cap(p.buf) && len(p.buf) > 0 {
			err := p.send()
			if err == nil && p.proof == nil {
				err = p.commit()
			}
			if err != nil {
				return nil, err
			}
		}
		room := min(int64(cap(p.buf)-len(p.buf)), p.upload.Size-p.at)
		if room == 0 {
			return nil, nil
		}
		n, err := io.ReadFull(src, p.buf[len(p.buf):len(p.buf)+int(room)])
		taken := p.buf[len(p.buf) : len(p.buf)+n]
		p.buf, p.at = p.buf[:len(p.buf)+n], p.at+int64(n)
		p.hash.Write(taken) // never fails
		if missing := HeadSize - len(p.head); missing > 0 {
			p.head = append(slices.Clip(p.head), taken[:min(missing, n)]...)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

// send makes a part of what is gathered.
func (p *parcel) send() error {
	ctx, cancel := context.WithTimeout(p.ctx, partTimeout)
	defer cancel()
	out, err := p.bucket.Media.Client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &p.bucket.Media.Name, Key: aws.String(media.OriginalKey(p.upload.VideoID)), UploadId: &p.sent.ID,
		PartNumber: aws.Int32(int32(len(p.sent.Parts)) + 1), Body: bytes.NewReader(p.buf), ContentLength: aws.Int64(int64(len(p.buf))),
	})
	if err != nil {
		return media.BucketError("send a part of upload "+string(p.upload.UploadID), err)
	}
	failpoint.Hit("upload/written")
	p.sent.Parts = append(slices.Clip(p.sent.Parts), vault.Part{ETag: aws.ToString(out.ETag), Size: int64(len(p.buf))})
	p.sent.Tail, p.sent.TailSize = "", 0
	p.buf = p.buf[:0]
	return nil
}

// finish keeps what is left at the end of the piece: as the last part, or, if more is to come, for the next piece.
func (p *parcel) finish() error {
	if p.at == p.upload.Offset { // all of it counts already, or there was nothing
		return nil
	}
	var err error
	switch {
	case len(p.buf) == 0: // it ends where a part does
	case p.at == p.upload.Size:
		err = p.send()
	default:
		err = p.keep()
	}
	if err != nil {
		return err
	}
	return p.commit()
}

// keep makes an object of what is too short for a part.
func (p *parcel) keep() error {
	key := tailPrefix(p.upload.UploadID) + uuid.NewString()
	if _, err := p.bucket.Media.Write(p.ctx, key, p.buf, media.None); err != nil {
		return err
	}
	failpoint.Hit("upload/written")
	p.sent.Tail, p.sent.TailSize = key, int64(len(p.buf))
	return nil
}

// commit lets the record move on to what is in the bucket now.
func (p *parcel) commit() error {
	failpoint.Hit("upload/synced")
	state, err := marshalHash(p.hash)
	if err != nil {
		return err
	}
	old := p.upload.Multipart.Tail
	next, m := *p.upload, p.sent
	m.Head = p.head
	next.Multipart, next.Offset, next.HashState = &m, p.at, state
	next.ExpiresAt = p.bucket.Now().UTC().Add(p.bucket.Expiry)
	if err := p.bucket.Save(p.ctx, &next); err != nil {
		return err
	}
	*p.upload = next
	failpoint.Hit("upload/recorded")
	if next.Complete() {
		failpoint.Hit("upload/completed")
	}
	if old != "" {
		if err := p.bucket.Media.Delete(p.ctx, old); err != nil { // no record leads there any more
			p.bucket.Log.WarnContext(p.ctx, "left-over of an upload not removed", "uploadId", next.UploadID, "error", err)
		}
	}
	return nil
}
