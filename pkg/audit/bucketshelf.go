package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// VerifyBucket is Verify of the chains that Ledgers keep in a bucket. It holds one part at a time, and reads each once. An
// object is written whole or not at all, so no crash is an excuse here: an empty part, one that does not end with a line,
// a number that is missing, and an object that is none of a Ledger's are findings.
func VerifyBucket(ctx context.Context, b Bucket, heads HeadReader) (Report, error) {
	return Inspection{Heads: heads}.Bucket(ctx, b)
}

// bucketShelf is a log in a bucket.
type bucketShelf struct{ bucket Bucket }

func (s bucketShelf) head(ctx context.Context, c Category) (Head, bool, error) {
	return bucketHeads(s).Load(ctx, c)
}

func (s bucketShelf) files(ctx context.Context, v *verifier, c Category) (files []logFile, newest int, err error) {
	keys, err := s.bucket.List(ctx, bucketPrefix+string(c)+".")
	if err != nil {
		return nil, 0, err
	}
	next := 1
	for _, key := range keys {
		name := strings.TrimPrefix(key, bucketPrefix)
		_, number, ok := parsePartName(name)
		if !ok {
			continue
		}
		if number > next {
			v.find(name, "the %d parts before it are missing, from %s on", number-next, partName(c, next))
		}
		next = number + 1
		files = append(files, logFile{name: name})
	}
	return files, len(files), nil
}

func (s bucketShelf) open(ctx context.Context, f logFile) (io.ReadCloser, int64, error) {
	data, _, err := s.bucket.Read(ctx, bucketPrefix+f.name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", errCannotRead, err)
	}
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
}

func (s bucketShelf) strangers(ctx context.Context, v *verifier) error {
	ours := map[string]bool{}
	for _, c := range Categories {
		ours[headKey(c)] = true
	}
	for _, prefix := range []string{bucketPrefix, bucketPrefix + headsDir + "/"} {
		keys, err := s.bucket.List(ctx, prefix)
		if err != nil {
			return err
		}
		for _, key := range keys {
			name := strings.TrimPrefix(key, bucketPrefix)
			if _, _, isPart := parsePartName(name); !isPart && !ours[key] {
				v.find(name, "is no part of the log")
			}
		}
	}
	return nil
}
