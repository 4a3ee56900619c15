package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"pulsevault/pkg/vault"
)

// Bucket keeps media in a bucket of Amazon S3, or of a server that speaks its protocol and knows conditional writes
// (If-Match and If-None-Match of PutObject). A version is an ETag.
type Bucket struct {
	Name    string
	Client  *s3.Client
	presign *s3.PresignClient
	scratch scratch
}

// BucketOptions say where a bucket is.
type BucketOptions struct {
	Bucket, Region string
	Endpoint       string // of S3 itself; "" means that of AWS in the region
	PublicEndpoint string // the same as clients reach it, for links; "" is Endpoint
	Scratch        string // folder on this machine, which processes may share, for Local and Scratch
}

// callTimeout bounds a call that carries little.
const callTimeout = 10 * time.Second

// OpenBucket finds the credentials as every AWS client does: in the environment, in the files under ~/.aws, or from the
// machine. It does not ask S3 anything.
func OpenBucket(ctx context.Context, o BucketOptions) (*Bucket, error) {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(o.Region))
	if err != nil {
		return nil, fmt.Errorf("media: configure the S3 client; are the AWS_ variables and the files under ~/.aws right? %w", err)
	}
	return NewBucket(c, o), nil
}

// NewBucket is OpenBucket for who has the credentials.
func NewBucket(c aws.Config, o BucketOptions) *Bucket {
	client := func(endpoint string) *s3.Client {
		return s3.NewFromConfig(c, func(options *s3.Options) {
			options.DisableLogOutputChecksumValidationSkipped = true
			if endpoint != "" {
				options.BaseEndpoint = aws.String(endpoint)
				options.UsePathStyle = true
			}
		})
	}
	public := o.PublicEndpoint
	if public == "" {
		public = o.Endpoint
	}
	return &Bucket{
		Name: o.Bucket, Client: client(o.Endpoint), presign: s3.NewPresignClient(client(public)), scratch: scratch{parent: o.Scratch},
	}
}

// Check reports whether the bucket is there and may be used.
func (b *Bucket) Check(ctx context.Context) error {
	_, err := b.Client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name})
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.Name, err)
	}
	return nil
}

// Read gets an object.
func (b *Bucket) Read(ctx context.Context, key string) (data []byte, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := b.Client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.Name, Key: &key})
	if err != nil {
		return nil, "", BucketError("read "+key, err)
	}
	data, err = io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return nil, "", BucketError("read "+key, err)
	}
	return data, aws.ToString(out.ETag), nil
}

// Stamp asks for an object's ETag.
func (b *Bucket) Stamp(ctx context.Context, key string) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := b.Client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.Name, Key: &key})
	if err != nil {
		return "", BucketError("look at "+key, err)
	}
	return aws.ToString(out.ETag), nil
}

// Write puts an object under a condition. The client's own repeats are switched off: of a put whose answer was lost, the
// repeat would be refused for what the first had written. So after a failure that leaves it open, we look.
func (b *Bucket) Write(ctx context.Context, key string, data []byte, ifVersion string) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for range 3 {
		version, err = b.put(ctx, key, data, ifVersion)
		if err == nil || refused(err) != 0 {
			break
		}
		found, now, readErr := b.Read(ctx, key)
		switch {
		case readErr == nil && bytes.Equal(found, data):
			return now, nil
		case readErr != nil && !errors.Is(readErr, fs.ErrNotExist):
			return "", BucketError("write "+key, err)
		case ifVersion != Any && now != ifVersion:
			return "", errChanged().Because(err)
		}
	}
	if err = BucketError("write "+key, err); errors.Is(err, fs.ErrNotExist) { // there is nothing to match
		err = errChanged()
	}
	return version, err
}

func (b *Bucket) put(ctx context.Context, key string, data []byte, ifVersion string) (version string, err error) {
	in := &s3.PutObjectInput{Bucket: &b.Name, Key: &key, Body: bytes.NewReader(data), ContentType: contentType(key)}
	switch ifVersion {
	case Any:
	case None:
		in.IfNoneMatch = aws.String("*")
	default:
		in.IfMatch = &ifVersion
	}
	out, err := b.Client.PutObject(ctx, in, func(o *s3.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

// List goes over the keys below a prefix, 1000 at a time.
func (b *Bucket) List(ctx context.Context, prefix string) ([]string, error) {
	pages := s3.NewListObjectsV2Paginator(b.Client, &s3.ListObjectsV2Input{Bucket: &b.Name, Prefix: &prefix, Delimiter: aws.String("/")})
	var keys []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, BucketError("list "+prefix, err)
		}
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// Delete removes up to 1000 objects by one call.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	for some := range slices.Chunk(keys, 1000) {
		var objects []types.ObjectIdentifier
		for _, key := range some {
			objects = append(objects, types.ObjectIdentifier{Key: aws.String(key)})
		}
		out, err := b.Client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
			Bucket: &b.Name, Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
		})
		if err != nil {
			return BucketError("delete", err)
		}
		for _, failed := range out.Errors {
			if aws.ToString(failed.Code) != "NoSuchKey" {
				return fmt.Errorf("media: delete %s: %s", aws.ToString(failed.Key), aws.ToString(failed.Message))
			}
		}
	}
	return nil
}

// Lock locks nothing: see Store.
func (b *Bucket) Lock(context.Context, vault.VideoID) (unlock func(), err error) {
	return func() {}, nil
}

// Close removes what Local and Scratch have left on this machine.
func (b *Bucket) Close() error { return b.scratch.close() }

// refused is the status with which S3 has said that it does not do what it was asked; 0 if it has not said so.
func refused(err error) int {
	var answered *smithyhttp.ResponseError
	if !errors.As(err, &answered) || answered.Response == nil {
		return 0
	}
	if status := answered.HTTPStatusCode(); status >= http.StatusBadRequest && status < http.StatusInternalServerError {
		return status
	}
	return 0
}

// BucketError gives an error of the S3 client the form that a Store's have.
func BucketError(doing string, err error) error {
	if err == nil {
		return nil
	}
	status, code := refused(err), ""
	var said smithy.APIError
	if errors.As(err, &said) {
		code = said.ErrorCode()
	}
	switch {
	case status == 0:
		return vault.Errorf(vault.Unavailable, "storage_unavailable", "the media store cannot be reached at the moment; try again").
			Because(fmt.Errorf("media: %s: %w", doing, err))
	case code == "NoSuchKey" || code == "NotFound" || code == "NoSuchUpload" || code == "KeyTooLongError":
		return fs.ErrNotExist
	case status == http.StatusPreconditionFailed || code == "ConditionalRequestConflict":
		return errChanged().Because(err)
	}
	return fmt.Errorf("media: %s: %w", doing, err)
}

// contentType is what whoever follows a Link is told, and, of a record, whoever looks into the bucket.
func contentType(key string) *string {
	t := ContentType(key)
	if path.Ext(key) == ".json" {
		t = "application/json"
	}
	if t == "" {
		return nil
	}
	return &t
}
