package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Bucket keeps uploads in a bucket. The bytes go to where the video's original will be, as a multipart upload that
// finalize completes: nothing is copied. The record says which parts count. A record is replaced only by whoever has read
// it last, so that two writers, whom the lock may have failed to keep apart, cannot both count theirs.
type Bucket struct {
	Media  *media.Bucket
	Expiry time.Duration // how long an upload that nobody adds to is kept
	Now    func() time.Time
	Log    *slog.Logger
}

const (
	openPrefix   = "open/"
	recordPrefix = "uploads/"
	partSize     = 8 << 20 // bytes of a part; S3 wants 5 MiB or more of all but the last
	maxParts     = 10_000
	partTimeout  = 2 * time.Minute // for one part to reach S3
	// completeTimeout is for S3 to put the parts together. Who cannot wait so long finds it done by a repeat.
	completeTimeout = 5 * time.Minute
)

func recordKey(id vault.UploadID) string { return recordPrefix + string(id) + recordSuffix }
func openKey(id vault.UploadID) string   { return openPrefix + string(id) }

func tailPrefix(id vault.UploadID) string { return "tails/" + string(id) + "-" }

// Create begins a multipart upload, then leaves the marker and the record. A crash before the marker leaves a multipart
// upload without parts, which costs nothing; the bucket should have a rule that aborts such.
func (b *Bucket) Create(ctx context.Context, owner string, size int64, metadata map[string]string) (vault.Upload, error) {
	u := newUpload(owner, size, metadata, b.Now(), b.Expiry)
	out, err := b.Media.Client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &b.Media.Name, Key: aws.String(media.OriginalKey(u.VideoID)),
	})
	if err != nil {
		return u, media.BucketError("begin a multipart upload", err)
	}
	u.Multipart = &vault.Multipart{ID: aws.ToString(out.UploadId)}
	marker := media.OriginalKey(u.VideoID) + "\n" + u.Multipart.ID
	if _, err := b.Media.Write(ctx, openKey(u.UploadID), []byte(marker), media.None); err != nil {
		return u, err
	}
	return u, b.Save(ctx, &u)
}

// Get reads a record and the version that it is.
func (b *Bucket) Get(ctx context.Context, id vault.UploadID) (vault.Upload, error) {
	data, version, err := b.Media.Read(ctx, recordKey(id))
	u, err := parseRecord(id, data, err)
	if err == nil && !placed(u) {
		err = fmt.Errorf("read record of upload %s: it does not say where the bytes are", id)
	}
	u.Version = version
	return u, err
}

// placed reports whether a record says where all of its bytes are.
func placed(u vault.Upload) bool {
	if u.Multipart == nil {
		return false
	}
	rest := u.Offset
	for _, p := range append(slices.Clip(u.Multipart.Parts), vault.Part{Size: u.Multipart.TailSize}) {
		if p.Size < 0 || p.Size > rest {
			return false
		}
		rest -= p.Size
	}
	return rest == 0
}

// Save replaces the record that u was read from.
func (b *Bucket) Save(ctx context.Context, u *vault.Upload) error {
	data, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("write record of upload %s: %w", u.UploadID, err)
	}
	version, err := b.Media.Write(ctx, recordKey(u.UploadID), data, u.Version)
	if err != nil {
		return fmt.Errorf("write record of upload %s: %w", u.UploadID, err)
	}
	u.Version = version
	return nil
}

// Remove removes the record first: what a crash leaves promises nothing, and the marker tells the sweep of it.
func (b *Bucket) Remove(ctx context.Context, u vault.Upload) error {
	if err := b.Media.Delete(ctx, recordKey(u.UploadID)); err != nil {
		return err
	}
	if err := b.abort(ctx, media.OriginalKey(u.VideoID), u.Multipart.ID); err != nil {
		return err
	}
	return b.close(ctx, u.UploadID)
}

// close removes what is no longer needed, that of which no record came to know too, and then the marker.
func (b *Bucket) close(ctx context.Context, id vault.UploadID) error {
	tails, err := b.Media.List(ctx, tailPrefix(id))
	if err != nil {
		return err
	}
	return b.Media.Delete(ctx, append(tails, openKey(id))...)
}

func (b *Bucket) abort(ctx context.Context, key, id string) error {
	_, err := b.Media.Client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.Media.Name, Key: &key, UploadId: &id})
	if err = media.BucketError("abort the multipart upload of "+key, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Head is kept in the record, because parts cannot be read.
func (b *Bucket) Head(_ context.Context, u vault.Upload) ([]byte, error) {
	return u.Multipart.Head, nil
}

// Deliver has S3 put the parts together, unless that was done before.
func (b *Bucket) Deliver(ctx context.Context, u vault.Upload) error {
	key := media.OriginalKey(u.VideoID)
	_, err := b.Media.Stamp(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		err = b.complete(ctx, key, u)
	}
	if err != nil {
		return err
	}
	return b.close(ctx, u.UploadID)
}

func (b *Bucket) complete(ctx context.Context, key string, u vault.Upload) error {
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	parts := make([]types.CompletedPart, len(u.Multipart.Parts))
	for i, p := range u.Multipart.Parts {
		parts[i] = types.CompletedPart{ETag: aws.String(p.ETag), PartNumber: aws.Int32(int32(i) + 1)}
	}
	_, err := b.Media.Client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b.Media.Name, Key: &key, UploadId: &u.Multipart.ID, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err == nil {
		return nil
	}
	// A repeat, by the client or by somebody else, finds no multipart upload when the first try has succeeded.
	if _, there := b.Media.Stamp(ctx, key); there == nil {
		return nil
	}
	return fmt.Errorf("complete the upload of %s: %w", key, media.BucketError("complete", err))
}

// Open lists the markers.
func (b *Bucket) Open(ctx context.Context) ([]vault.UploadID, error) {
	keys, err := b.Media.List(ctx, openPrefix)
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	for i, key := range keys {
		keys[i] = strings.TrimPrefix(key, openPrefix)
	}
	return uploadIDs(keys), nil
}

// Discard takes the age of an upload without a record from its id.
func (b *Bucket) Discard(ctx context.Context, id vault.UploadID) (bool, error) {
	u, err := b.Get(ctx, id)
	switch {
	case err == nil && u.Expired(b.Now()):
		return true, b.Remove(ctx, u)
	case vault.KindOf(err) != vault.NotFound:
		return false, err
	case b.Now().Sub(id.Time()) < b.Expiry:
		return false, nil
	}
	marker, _, err := b.Media.Read(ctx, openKey(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if key, multipart, ok := strings.Cut(string(marker), "\n"); ok {
		if err := b.abort(ctx, key, multipart); err != nil {
			return false, err
		}
	}
	return true, b.close(ctx, id)
}
