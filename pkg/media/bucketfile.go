package media

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"pulsevault/pkg/vault"
)

const (
	importsAtOnce = 8
	longestLink   = 7 * 24 * time.Hour // that S3 takes
)

// Open asks for an object's size and fetches its bytes as they are read.
func (b *Bucket) Open(ctx context.Context, key string) (Object, error) {
	out, err := b.Client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.Name, Key: &key})
	if err != nil {
		return nil, BucketError("open "+key, err)
	}
	return &object{
		ctx: ctx, bucket: b, key: key, etag: out.ETag, size: aws.ToInt64(out.ContentLength), modified: aws.ToTime(out.LastModified),
	}, nil
}

// Stat asks for an object's size.
func (b *Bucket) Stat(ctx context.Context, key string) (fs.FileInfo, error) {
	o, err := b.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return o.Stat()
}

// object is an open object of a bucket: one GET is under way from where reading began until another place is sought.
type object struct {
	ctx      context.Context // of the request that opened it
	bucket   *Bucket
	key      string
	etag     *string
	size     int64
	modified time.Time

	at   int64
	body io.ReadCloser // of the GET that has come to at; nil if none has begun
}

func (o *object) Read(p []byte) (int, error) {
	if o.at >= o.size {
		return 0, io.EOF
	}
	if o.body == nil {
		out, err := o.bucket.Client.GetObject(o.ctx, &s3.GetObjectInput{
			Bucket: &o.bucket.Name, Key: &o.key, IfMatch: o.etag, Range: aws.String(fmt.Sprintf("bytes=%d-", o.at)),
		})
		if err != nil {
			return 0, BucketError("read "+o.key, err)
		}
		o.body = out.Body
	}
	n, err := o.body.Read(p)
	o.at += int64(n)
	if errors.Is(err, io.EOF) && o.at < o.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.at
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	if offset != o.at {
		_ = o.Close() // of what is no longer wanted
	}
	o.at = offset
	return offset, nil
}

func (o *object) Close() error {
	if o.body == nil {
		return nil
	}
	body := o.body
	o.body = nil
	return body.Close()
}

func (o *object) Stat() (fs.FileInfo, error) { return objectInfo{o}, nil }

// objectInfo is what is known of an open object.
type objectInfo struct{ o *object }

func (i objectInfo) Name() string       { return path.Base(i.o.key) }
func (i objectInfo) Size() int64        { return i.o.size }
func (i objectInfo) Mode() fs.FileMode  { return 0 }
func (i objectInfo) ModTime() time.Time { return i.o.modified }
func (i objectInfo) IsDir() bool        { return false }
func (i objectInfo) Sys() any           { return nil }

// Import uploads files, some at once.
func (b *Bucket) Import(ctx context.Context, files map[string]string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(importsAtOnce)
	for key, from := range files {
		group.Go(func() error { return b.upload(ctx, key, from) })
	}
	return group.Wait()
}

func (b *Bucket) upload(ctx context.Context, key, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	_, err = b.Client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &b.Name, Key: &key, Body: f, ContentType: contentType(key), CacheControl: aws.String(CacheControl),
	})
	return BucketError("import "+key, err)
}

// Local downloads an object to a file, which release removes.
func (b *Bucket) Local(ctx context.Context, key string) (name string, release func(), err error) {
	home, err := b.scratch.folder()
	if err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp(home, "local-*")
	if err != nil {
		return "", nil, err
	}
	release = func() { _ = os.RemoveAll(folder) } // a left-over is litter, not harm
	name = filepath.Join(folder, path.Base(key))
	if err := b.download(ctx, key, name); err != nil {
		release()
		return "", nil, err
	}
	return name, release, nil
}

func (b *Bucket) download(ctx context.Context, key, to string) error {
	from, err := b.Open(ctx, key)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // only read
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// Scratch returns a folder outside the bucket.
func (b *Bucket) Scratch(id vault.VideoID, name string) (string, error) {
	home, err := b.scratch.folder()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, string(id), name), nil
}

// Link signs a GET of an object. It ends earlier where the credentials do, and after seven days.
func (b *Bucket) Link(ctx context.Context, key string, until time.Time) (string, error) {
	life := min(max(time.Until(until), time.Second), longestLink)
	signed, err := b.presign.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &b.Name, Key: &key}, s3.WithPresignExpires(life))
	if err != nil {
		return "", fmt.Errorf("media: link to %s: %w", key, err)
	}
	return signed.URL, nil
}
