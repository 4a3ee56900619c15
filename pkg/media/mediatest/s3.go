package mediatest

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"pulsevault/pkg/freeport"
	"pulsevault/pkg/media"
)

// S3 is a server of the S3 protocol on this machine, with a bucket.
type S3 struct {
	Endpoint, Bucket, Region string
	AccessKey, Secret        string
	dir                      string // where the server keeps its buckets
}

// StartS3 runs a versitygw until the test ends.
func StartS3(t *testing.T) S3 {
	t.Helper()
	program := findVersitygw(t)
	s := S3{Region: "eu-central-1", AccessKey: "AKIAEXAMPLE", Secret: "an example of a secret", dir: t.TempDir()}
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	s.Endpoint = "http://" + address
	cmd := exec.Command(program, "--port", address, "--region", s.Region, "--quiet", "posix", s.dir)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.Secret)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.await(t)
	return s.Another(t, "pulsevault")
}

// Another makes another bucket on the same server.
func (s S3) Another(t *testing.T, name string) S3 {
	t.Helper()
	s.Bucket = name
	if _, err := s.Open(t).Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &s.Bucket}); err != nil {
		t.Fatal(err)
	}
	return s
}

// RandomName returns a name that no other bucket has.
func RandomName() string { return uuid.NewString() }

// Settings are what a process of PulseVault needs in its environment, as NAME=value.
func (s S3) Settings() []string {
	return []string{
		"STORAGE=s3", "S3_BUCKET=" + s.Bucket, "S3_ENDPOINT=" + s.Endpoint, "S3_REGION=" + s.Region,
		"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.Secret,
	}
}

// Folder is where the server keeps the objects of the bucket, each as a file of the name of its key.
func (s S3) Folder() string { return filepath.Join(s.dir, s.Bucket) }

// Open returns the bucket, as a process of its own would have it.
func (s S3) Open(t *testing.T) *media.Bucket {
	t.Helper()
	return s.OpenThrough(t, nil)
}

// OpenThrough is Open for who wants to see what goes over the wire.
func (s S3) OpenThrough(t *testing.T, client aws.HTTPClient) *media.Bucket {
	t.Helper()
	b := media.NewBucket(
		aws.Config{Region: s.Region, Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.Secret, ""), HTTPClient: client},
		media.BucketOptions{Bucket: s.Bucket, Region: s.Region, Endpoint: s.Endpoint, Scratch: t.TempDir()},
	)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (s S3) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			return
		}
		if ctx.Err() != nil {
			t.Fatal("the S3 server does not answer: ", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// findVersitygw looks where make installs it, and among the programs of the machine.
func findVersitygw(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if found, _ := filepath.Glob(filepath.Join(dir, ".tools", "versitygw@*", "versitygw")); len(found) > 0 {
			return found[0]
		}
	}
	path, err := exec.LookPath("versitygw")
	if err != nil {
		t.Skip("NOT TESTED: the bucket, for want of an S3 server: make deps-test builds versitygw")
	}
	return path
}
