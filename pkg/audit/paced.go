package audit

import (
	"context"
	"io"
	"time"
)

// smallFile is what a file that is read whole counts for beyond its bytes, because opening one takes time too.
const smallFile = 8 << 10

// paced is a shelf of which so many bytes are read in a second.
type paced struct {
	shelf
	pace int64
}

func (p paced) open(ctx context.Context, f logFile) (io.ReadCloser, int64, error) {
	r, size, err := p.shelf.open(ctx, f)
	if err != nil {
		return nil, 0, err
	}
	return pacedFile{r, p, ctx}, size, nil
}

func (p paced) checkpoint(ctx context.Context, number uint64) ([]byte, error) {
	signed, err := p.shelf.checkpoint(ctx, number)
	p.rest(ctx, len(signed)+smallFile)
	return signed, err
}

// rest waits for as long as n bytes should take, or until ctx ends.
func (p paced) rest(ctx context.Context, n int) {
	select {
	case <-time.After(time.Duration(n) * time.Second / time.Duration(p.pace)):
	case <-ctx.Done():
	}
}

type pacedFile struct {
	io.ReadCloser
	shelf paced
	ctx   context.Context
}

func (f pacedFile) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	f.shelf.rest(f.ctx, n)
	return n, err
}
