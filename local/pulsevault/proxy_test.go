package main_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between two that speak over TCP, and lets their bytes wait.
type proxy struct {
	addr   string
	target string

	mu    sync.Mutex
	delay time.Duration // of whatever goes through
	held  chan struct{} // nothing goes through before it is closed; nil if nothing is held
}

// startProxy passes connections on to a target until the test ends.
func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target}
	ended := make(chan struct{})
	go p.serve(l, ended)
	t.Cleanup(func() {
		_ = l.Close()
		p.pass()
		<-ended
	})
	return p
}

func (p *proxy) serve(l net.Listener, ended chan<- struct{}) {
	defer close(ended)
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go p.join(client)
	}
}

func (p *proxy) join(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	done := make(chan struct{}, 2)
	for from, to := range map[net.Conn]net.Conn{client: server, server: client} {
		go func() {
			p.forward(from, to)
			done <- struct{}{}
		}()
	}
	<-done // one end has gone, and the other goes too
}

func (p *proxy) forward(from, to net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		p.wait()
		if _, writeErr := to.Write(b[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

func (p *proxy) wait() {
	p.mu.Lock()
	delay, held := p.delay, p.held
	p.mu.Unlock()
	time.Sleep(delay)
	if held != nil {
		<-held
	}
}

// hold lets nothing through.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

// slow lets everything wait.
func (p *proxy) slow(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = by
}

// pass lets everything through at once, and what was held.
func (p *proxy) pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
	}
	p.delay, p.held = 0, nil
}
