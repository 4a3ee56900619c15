// Package upload takes a video in, piece by resumable piece, over tus 1.0.0 (https://tus.io/protocols/resumable-upload).
//
// A directory holds two files for an upload:
//
//	{uploadId}        the bytes so far; gone once the upload has become a video
//	{uploadId}.json   the record, a vault.Upload, replaced whole at every change
//
// A bucket holds, beside the parts of a multipart upload of the video's original,
//
//	uploads/{uploadId}.json    the record
//	tails/{uploadId}-{uuid}    the bytes behind the last part, if there are any
//	open/{uploadId}            a marker until the upload has become a video; it holds S3's name of the multipart upload
//
// A piece is written at the record's offset, synced, and only then does the record move on to the new offset: what an
// answer acknowledges is on disk. Bytes beyond the record's offset are the rest of a piece that nobody was told about;
// they are cut off when the upload is resumed. While a piece is coming in, the record moves on every 64 MiB, so that a
// crash costs no more than that; but of a piece that was sent with a checksum nothing counts before the whole of it has
// arrived and matches. With the offset goes the state of the SHA-256 over the bytes before it, so that the
// checksum of the whole is known when the last byte is there.
package upload

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"syscall"
	"time"

	"pulsevault/pkg/vault"
)

// Store keeps uploads: a Dir or a Bucket. Whoever changes an upload holds its lock: tusd's handlers do, and finalize and
// the sweep by Hold.
type Store interface {
	// Create begins an upload that will have so many bytes, for its owner. Its record is durable when Create returns.
	Create(ctx context.Context, owner string, size int64, metadata map[string]string) (vault.Upload, error)
	// Get returns the record of an upload, also of one that has expired. One that is not there is a NotFound error.
	Get(ctx context.Context, id vault.UploadID) (vault.Upload, error)
	// Save replaces the record of an upload. It is durable when Save returns. A bucket refuses, with a Conflict, to replace
	// a record that somebody else has replaced since it was read.
	Save(ctx context.Context, u *vault.Upload) error
	// Append adds what src gives to the upload and returns how many bytes it took. Those bytes, the record and the hash
	// state are durable when it returns without an error of its own; src's error comes with what it gave before. After
	// another error the record stands at an offset up to which everything is durable; the bytes beyond do not count.
	// With a claim, the bytes count only if src ends without an error and they match; the record, and who reads it, knows
	// nothing of them before. If they do not match, that is an Unprocessable error.
	Append(ctx context.Context, u *vault.Upload, src io.Reader, claim *Claim) (int64, error)
	// Remove forgets an upload.
	Remove(ctx context.Context, u vault.Upload) error
}

// Deliverer is the side of a Store that finalize and the sweep see: a Dir or a Bucket.
type Deliverer interface {
	// Head returns the first HeadSize bytes of an upload that has not been delivered, or all if it has fewer.
	Head(ctx context.Context, u vault.Upload) ([]byte, error)
	// Deliver makes the bytes of a complete upload the original of its video, in a time that does not grow with them. A
	// repeat does nothing.
	Deliver(ctx context.Context, u vault.Upload) error
	// Open lists the uploads that have not been delivered, among them ones without a record and ones that finalize has
	// begun with.
	Open(ctx context.Context) ([]vault.UploadID, error)
	// Discard removes an upload if it has expired, or if it has no record and has been without one for as long as uploads
	// are kept. It reports whether it did.
	Discard(ctx context.Context, id vault.UploadID) (bool, error)
	// Origin finds the upload that became a video, or is to, by what the two ids have in common; "" if there is none. It is
	// for videos whose record does not name it.
	Origin(ctx context.Context, id vault.VideoID) (vault.UploadID, error)
}

// HeadSize is how many bytes tell the type of a file.
const HeadSize = 4096

func newUpload(owner string, size int64, metadata map[string]string, now time.Time, expiry time.Duration) vault.Upload {
	return vault.Upload{
		UploadID: vault.NewUploadID(), VideoID: vault.NewVideoID(), Owner: owner, Size: size, Metadata: metadata,
		CreatedAt: now.UTC(), ExpiresAt: now.UTC().Add(expiry),
	}
}

// parseRecord makes a record of what was read of one.
func parseRecord(id vault.UploadID, data []byte, err error) (u vault.Upload, _ error) {
	if errors.Is(err, fs.ErrNotExist) {
		return u, errNotFound()
	}
	if err == nil {
		err = json.Unmarshal(data, &u)
	}
	if err == nil && (u.UploadID != id || u.Offset < 0 || u.Offset > u.Size) {
		err = errors.New("it is not a record of that upload")
	}
	if err != nil {
		return vault.Upload{}, fmt.Errorf("read record of upload %s: %w", id, err)
	}
	return u, nil
}

// uploadIDs are those of names that are ids.
func uploadIDs(names []string) (ids []vault.UploadID) {
	for _, name := range names {
		if id, err := vault.ParseUploadID(name); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Checksum returns the lower-case hex SHA-256 of the bytes before the record's offset.
func Checksum(u vault.Upload) (string, error) {
	h, err := restoreHash(u)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func restoreHash(u vault.Upload) (hash.Hash, error) {
	h := sha256.New()
	if u.Offset == 0 {
		return h, nil
	}
	if err := unmarshalHash(h, u.HashState); err != nil {
		return nil, fmt.Errorf("read record of upload %s: %w", u.UploadID, err)
	}
	return h, nil
}

func marshalHash(h hash.Hash) ([]byte, error) {
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("save hash state: %w", err)
	}
	return state, nil
}

func unmarshalHash(h hash.Hash, state []byte) error {
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return fmt.Errorf("restore hash state: %w", err)
	}
	return nil
}

func errNotFound() error { return vault.NoUpload() }

func errNoSpace() *vault.Error {
	return vault.Errorf(vault.NoSpace, "no_space", "the disk here is full; what was acknowledged is kept, resume when there is room")
}

// noSpace makes an error that callers may see of the system's ways to say that the disk is full.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || isQuota(err) {
		return errNoSpace().Because(err)
	}
	return err
}
