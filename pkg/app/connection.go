package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"pulsevault/pkg/web"
)

// patience is how long an answer waits for its client. Whenever it has waited for stall, the client must have taken least
// bytes meanwhile: a slow one gets everything, one that takes nothing, or next to nothing, is let go after stall has passed
// twice. So is a player that pauses in the middle of a file; it asks for the rest by a range.
type patience struct {
	stall time.Duration
	least int64
}

// listener accepts connections that have patience.
type listener struct {
	net.Listener
	patience patience
}

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(tcpConn); ok {
		return &connection{tcpConn: tcp, patience: l.patience}, nil
	}
	return c, err
}

// tcpConn is what a *net.TCPConn can do and net/http makes use of.
type tcpConn interface {
	net.Conn
	io.ReaderFrom
	syscall.Conn
	CloseWrite() error
}

// connection is one that does not wait for its client for ever.
type connection struct {
	tcpConn
	patience     patience
	answering    atomic.Bool // a request that has come whole is being answered
	refused      bool
	waitingSince time.Time // when the deadline for writing was set

	holding bool   // what is written is held until a body comes to go with it
	held    []byte // the head of an answer
}

// Write sends b. What net/http says by itself, to what is no request, goes out in our words.
func (c *connection) Write(b []byte) (n int, err error) {
	if !c.answering.Load() {
		return len(b), c.refuse(b)
	}
	if c.holding {
		c.held = append(c.held, b...)
		return len(b), nil
	}
	return c.send(b)
}

func (c *connection) send(b []byte) (n int, err error) {
	wait := c.wait()
	for {
		sent, err := c.tcpConn.Write(b[n:])
		n += sent
		if !wait.goesOn(int64(sent), err) {
			return n, err
		}
	}
}

// ReadFrom sends what src has. A part of a file goes out by sendfile; one so small that another piece on the wire would cost
// more than copying it leaves with the head of its answer, if that has been held for it.
func (c *connection) ReadFrom(src io.Reader) (n int64, err error) {
	part, ok := src.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	if c.holding && part.N <= smallBody {
		return c.sendSmall(part)
	}
	if err := c.release(); err != nil {
		return 0, err
	}
	section, ok := part.R.(*io.SectionReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	under, start, _ := section.Outer()
	file, ok := under.(seekableFile)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	at, err := section.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	return c.sendFile(file, start+at, part.N)
}

// seekableFile is what sendfile takes: an *os.File, or what has one in it.
type seekableFile interface {
	io.ReadSeeker
	syscall.Conn
}

// sendFile sends so many bytes of a file.
func (c *connection) sendFile(file seekableFile, start, length int64) (n int64, err error) {
	wait := c.wait()
	for {
		// Where there is no sendfile, more may have been read than sent.
		if _, err := file.Seek(start+n, io.SeekStart); err != nil {
			return n, err
		}
		sent, err := c.tcpConn.ReadFrom(&io.LimitedReader{R: file, N: length - n})
		n += sent
		if !wait.goesOn(sent, err) {
			return n, err
		}
	}
}

// waiting is what is known of a write that waits for the client.
type waiting struct {
	on     *connection
	unsent int64 // bytes that the client had not taken when we last looked, -1 before
}

func (c *connection) wait() waiting {
	// A deadline that was set just now will do, which the next one of many small answers finds there.
	if now := time.Now(); now.Sub(c.waitingSince) > c.patience.stall/10 {
		c.waitingSince = now
		_ = c.tcpConn.SetWriteDeadline(now.Add(c.patience.stall)) // it fails if the connection is closed, and then the write does
	}
	return waiting{c, -1}
}

// SetWriteDeadline does nothing: patience alone says when a write has waited for too long. net/http takes the deadline away
// after each answer, and tusd sets one of its own, and then the next answer would not have the one that was set just now.
func (c *connection) SetWriteDeadline(time.Time) error { return nil }

// goesOn reports whether a write that ended with err, after so many bytes, is to go on: it had to wait, and the client lives.
func (w *waiting) goesOn(sent int64, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	before, now := w.unsent, unsent(w.on.tcpConn)
	if w.unsent = now; before >= 0 && before+sent-now < w.on.patience.least {
		return false
	}
	w.on.waitingSince = time.Now()
	return w.on.tcpConn.SetWriteDeadline(w.on.waitingSince.Add(w.on.patience.stall)) == nil
}

// refusals is what is wrong with requests that net/http refuses before any handler sees them.
var refusals = map[int]struct{ code, message string }{
	http.StatusExpectationFailed:           {"expectation_failed", "of Expect, only 100-continue is known here"},
	http.StatusRequestHeaderFieldsTooLarge: {"headers_too_large", fmt.Sprintf("the headers of a request may have at most %d bytes", maxHeaderBytes)},
	http.StatusNotImplemented:              {"unknown_transfer_encoding", "send the body with Content-Length, or in chunks"},
	http.StatusHTTPVersionNotSupported:     {"unknown_http_version", "speak HTTP/1.1"},
}

// refuse answers with the status of what net/http has said, once.
func (c *connection) refuse(said []byte) error {
	if c.refused {
		return nil
	}
	c.refused = true
	status := http.StatusBadRequest
	_, _ = fmt.Sscanf(string(said), "HTTP/1.1 %d", &status) // always there
	why, ok := refusals[status]
	if !ok {
		why.code, why.message = "bad_request", "this is no request that HTTP/1.1 knows"
	}
	id := uuid.Must(uuid.NewV7()).String()
	body := fmt.Sprintf(`{"error":{"code":%q,"message":%q,"requestId":%q}}`+"\n", why.code, why.message, id)
	answer := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Close: true, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewBufferString(body)),
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Request-Id": {id}},
	}
	web.Secure(answer.Header, &http.Request{URL: &url.URL{}}, false)
	wait := c.wait()
	var out bytes.Buffer
	if err := answer.Write(&out); err != nil {
		return err
	}
	_, err := wait.on.tcpConn.Write(out.Bytes())
	return err
}
