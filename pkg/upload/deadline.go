package upload

import (
	"net/http"
	"sync"
	"time"
)

// deadline keeps the deadlines that tusd sets for reading a body from reaching beyond it. Once a body has been read,
// net/http reads on, to notice a client that goes away; if a deadline ends that, it takes the client for gone, and the context
// of every later request of the connection is cancelled from the start. And tusd sets the deadline of a body that has to make
// way from a goroutine of its own, when the connection may carry the next request already.
type deadline struct {
	mu       sync.Mutex
	ended    bool // the body has been read to its end
	answered bool
	passed   bool // one was set that is over at once
}

// set sets a deadline while the body is being read.
func (d *deadline) set(c *http.ResponseController, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || d.answered {
		return nil
	}
	d.passed = d.passed || !t.After(time.Now())
	return c.SetReadDeadline(t)
}

func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
}

func (d *deadline) hasEnded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

// answer lets no further deadline be set, and reports whether one is over: then the connection is of no more use.
func (d *deadline) answer() (passed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered = true
	return d.passed
}
