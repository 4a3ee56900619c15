package app

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
)

// smallBody is up to how many bytes a body is copied to leave in one piece with its head. A range of 16 KiB does so in half
// the time.
const smallBody = 64 << 10

// pieces are buffers that have room for a small body and its head.
var pieces = sync.Pool{New: func() any {
	piece := make([]byte, 0, smallBody+4096)
	return &piece
}}

// reply has a connection hold the head of an answer whose body follows at once.
type reply struct {
	http.ResponseWriter
	connection *connection
}

func (r reply) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// ReadFrom sends a body whose length is known, and its head with it.
func (r reply) ReadFrom(src io.Reader) (n int64, err error) {
	h := r.Header()
	if part, ok := src.(*io.LimitedReader); !ok || part.N > smallBody || h.Get("Content-Type") == "" || h.Get("Content-Length") == "" {
		return io.Copy(r.ResponseWriter, src)
	}
	c := r.connection
	piece := pieces.Get().(*[]byte)
	c.held, c.holding = (*piece)[:0], true
	defer func() {
		err = errors.Join(err, c.release())
		pieces.Put(piece)
	}()
	// Once its head is written, net/http hands a body to the connection, and else reads the beginning of it first.
	if err := http.NewResponseController(r.ResponseWriter).Flush(); err != nil {
		return 0, err
	}
	return io.Copy(r.ResponseWriter, src)
}

// sendSmall sends a body with the head that is held.
func (c *connection) sendSmall(body *io.LimitedReader) (n int64, err error) {
	head := len(c.held)
	piece := slices.Grow(c.held, int(body.N))[:head+int(body.N)]
	c.held, c.holding = nil, false
	got, err := io.ReadFull(body, piece[head:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // net/http sees that it is shorter than its head says
	}
	sent, sendErr := c.send(piece[:head+got])
	if err == nil {
		err = sendErr
	}
	return int64(max(sent-head, 0)), err
}

// release sends what is held, and holds nothing more.
func (c *connection) release() error {
	if !c.holding {
		return nil
	}
	held := c.held
	c.held, c.holding = nil, false
	if len(held) == 0 {
		return nil
	}
	_, err := c.send(held)
	return err
}
