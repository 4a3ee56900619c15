package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Config says which binaries to host and how.
type Config struct {
	Template    Template
	Dir         string        // holds {function}/bootstrap, as `make build` leaves them
	Env         []string      // NAME=value, for every function; wins over the template's
	Concurrency int           // processes of one function at a time; 0 means 10
	Idle        time.Duration // after which a process that nobody needs is stopped; 0 means 5 minutes
	Log         io.Writer     // takes what the functions print, and the START, END and REPORT lines
	Metrics     *Metrics
}

const (
	defaultConcurrency = 10
	defaultIdle        = 5 * time.Minute
)

// Emulator hosts functions. Its methods may be called at once.
type Emulator struct {
	config Config
	pools  map[string]*pool
}

// New makes an Emulator. It starts nothing yet. Close stops what has been started.
func New(c Config) *Emulator {
	if c.Concurrency <= 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.Idle <= 0 {
		c.Idle = defaultIdle
	}
	c.Log = &lines{to: c.Log}
	e := &Emulator{config: c, pools: map[string]*pool{}}
	for _, f := range c.Template.Functions {
		slots := c.Concurrency
		if f.Concurrency > 0 {
			slots = min(slots, f.Concurrency)
		}
		e.pools[f.Name] = &pool{config: &e.config, function: f, slots: make(chan struct{}, slots)}
	}
	return e
}

// Close stops every process.
func (e *Emulator) Close() {
	var stopping sync.WaitGroup
	for _, p := range e.pools {
		stopping.Go(p.close)
	}
	stopping.Wait()
}

// Answer is what came of an invocation.
type Answer struct {
	RequestID string
	Payload   []byte // JSON: what the function returned, or its error
	Failed    bool   // the payload is an error: errorMessage, errorType
}

// ErrTooLarge says that an event is larger than Lambda takes.
var ErrTooLarge = fmt.Errorf("the event has more than %d bytes, which is more than Lambda takes", MaxPayload)

// Invoke has a function work on an event, as soon as one of its processes is free. The error says that it could not be
// invoked; what went wrong within it is in the Answer. An invocation that has begun is not cut short by ctx.
func (e *Emulator) Invoke(ctx context.Context, function string, event []byte) (Answer, error) {
	p := e.pools[function]
	if p == nil {
		return Answer{}, fmt.Errorf("the template has no function %q", function)
	}
	if len(event) > MaxPayload {
		return Answer{}, ErrTooLarge
	}
	return p.invoke(ctx, event)
}

// pool is the processes of one function.
type pool struct {
	config   *Config
	function Function
	slots    chan struct{} // as many as there may be processes at work

	mu     sync.Mutex
	idle   []*process // the one used last is last, and used first
	busy   map[*process]bool
	closed bool
}

var errClosed = errors.New("the emulator is stopping")

func (p *pool) invoke(ctx context.Context, event []byte) (Answer, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	i := &invocation{
		id: uuid.NewString(), event: event, outcome: make(chan outcome, 1),
		arn: "arn:aws:lambda:local:" + accountNumber + ":function:" + p.function.Name,
	}
	s, err := p.begin(ctx, i)
	if err != nil {
		p.config.Metrics.failedInit(p.function.Name)
		return Answer{}, err
	}
	_, _ = fmt.Fprintf(p.config.Log, "START RequestId: %s Version: $LATEST Function: %s\n", i.id, p.function.Name)
	cold, began := s.fresh, time.Now()
	o, ok := s.await(i)
	p.report(s, i.id, time.Since(began), cold, o)
	p.giveBack(s, ok)
	return Answer{RequestID: i.id, Payload: o.payload, Failed: o.failed}, nil
}

// begin hands an invocation to a process that takes it.
func (p *pool) begin(ctx context.Context, i *invocation) (*process, error) {
	for {
		s, err := p.take(ctx)
		if err != nil {
			return nil, err
		}
		i.deadline = time.Now().Add(p.function.Timeout)
		switch {
		case s.hand(i):
			return s, nil
		case s.fresh:
			p.giveBack(s, false)
			return nil, fmt.Errorf("function %s ended before it took an event: %s", p.function.Name, s.ending())
		}
		p.giveBack(s, false)
	}
}

// take returns an idle process, or else a new one.
func (p *pool) take(ctx context.Context) (*process, error) {
	p.mu.Lock()
	for len(p.idle) > 0 {
		s := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if s.alive() {
			p.track(s)
			p.mu.Unlock()
			return s, nil
		}
	}
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	s, err := p.startProcess(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.track(s)
	closed = p.closed
	p.mu.Unlock()
	if closed {
		s.stop(0)
		return nil, errClosed
	}
	return s, nil
}

func (p *pool) track(s *process) {
	if p.busy == nil {
		p.busy = map[*process]bool{}
	}
	p.busy[s] = true
}

// giveBack keeps a process for the next invocation, for a while.
func (p *pool) giveBack(s *process, fit bool) {
	p.mu.Lock()
	delete(p.busy, s)
	keep := fit && !p.closed
	if keep {
		p.idle = append(p.idle, s)
	}
	p.mu.Unlock()
	if !keep {
		s.stop(0)
		return
	}
	used := s.used.Add(1)
	time.AfterFunc(p.config.Idle, func() { p.retire(s, used) })
}

// retire stops a process that has not been used since.
func (p *pool) retire(s *process, used int64) {
	p.mu.Lock()
	for i, other := range p.idle {
		if other == s && s.used.Load() == used {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.mu.Unlock()
			s.stop(stopPatience)
			return
		}
	}
	p.mu.Unlock()
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	all := p.idle
	for s := range p.busy {
		all = append(all, s)
	}
	p.idle = nil
	p.mu.Unlock()
	var stopping sync.WaitGroup
	for _, s := range all {
		stopping.Go(func() { s.stop(stopPatience) })
	}
	stopping.Wait()
}

// report prints what Lambda prints after an invocation. Time that is billed is whole milliseconds, with the init.
func (p *pool) report(s *process, id string, took time.Duration, cold bool, o outcome) {
	s.sampleMemory()
	var init time.Duration
	if cold {
		init = s.init
	}
	billed := math.Ceil(float64(took+init) / float64(time.Millisecond))
	fields := []string{
		"REPORT RequestId: " + id, fmt.Sprintf("Duration: %.2f ms", milliseconds(took)), fmt.Sprintf("Billed Duration: %.0f ms", billed),
		fmt.Sprintf("Memory Size: %d MB", p.function.MemorySize>>20), fmt.Sprintf("Max Memory Used: %d MB", (s.peak.Load()+1<<20-1)>>20),
	}
	if cold {
		fields = append(fields, fmt.Sprintf("Init Duration: %.2f ms", milliseconds(init)))
	}
	if kind := errorType(o); kind == "Sandbox.Timedout" {
		fields = append(fields, "Status: timeout")
	} else if strings.HasPrefix(kind, "Runtime.") {
		fields = append(fields, "Status: error", "Error Type: "+kind)
	}
	_, _ = fmt.Fprintf(p.config.Log, "END RequestId: %s\n%s\n", id, strings.Join(fields, "\t"))
	p.config.Metrics.invoked(p.function.Name, took, init, s.peak.Load(), o.failed)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// lines lets many write lines to one place, each of them whole.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}
