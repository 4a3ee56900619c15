package main_test

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// faults are what becomes, by turns, of a connection that has carried some thousand bytes from its client.
var faults = []string{"cut", "reset", "stall", "late", "none"}

// badNetwork stands between clients and a server. Clients are told sooner or later that their connection is gone; the server is
// told of a cut and of a reset only. Of a connection that is late, the server gets the last bytes after those of the next one.
type badNetwork struct {
	addr, target string

	mu   sync.Mutex
	turn int
	did  map[string]int
	next chan struct{} // closed when the next connection carries something
	left []net.Conn    // to the server, which hears nothing more of them
}

// startBadNetwork stands before a server until the test ends.
func startBadNetwork(t *testing.T, target string) *badNetwork {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &badNetwork{addr: l.Addr().String(), target: target, did: map[string]int{}, next: make(chan struct{})}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.join(c.(*net.TCPConn))
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.left {
			_ = c.Close()
		}
	})
	return b
}

func (b *badNetwork) join(client *net.TCPConn) {
	server, err := net.Dial("tcp", b.target)
	if err != nil {
		_ = client.Close()
		return
	}
	go func() { // the answers
		_, _ = client.ReadFrom(server)
		_ = client.Close()
	}()
	for {
		rest, whole := b.carry(client, server.(*net.TCPConn), 8000+rand.IntN(300_000))
		if whole {
			_ = server.Close()
			_ = client.Close()
			return
		}
		fault := b.take(server)
		if fault != "none" {
			b.fail(fault, client, server.(*net.TCPConn), rest)
			return
		}
		if _, err := server.Write(rest); err != nil {
			_ = client.Close()
			return
		}
	}
}

// take says what becomes of a connection that has carried enough.
func (b *badNetwork) take(server net.Conn) (fault string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault = faults[b.turn%len(faults)]
	b.turn++
	b.did[fault]++
	if fault != "none" {
		b.left = append(b.left, server)
	}
	return fault
}

// carry brings bytes to the server until the client has no more, or enough have come; the rest is what came last.
func (b *badNetwork) carry(client, server *net.TCPConn, enough int) (rest []byte, whole bool) {
	p := make([]byte, 16<<10)
	for {
		n, err := client.Read(p)
		if err != nil {
			return nil, true
		}
		b.mu.Lock()
		close(b.next)
		b.next = make(chan struct{})
		b.mu.Unlock()
		if enough -= n; enough <= 0 {
			return p[:n], false
		}
		if _, err := server.Write(p[:n]); err != nil {
			return nil, true
		}
	}
}

func (b *badNetwork) fail(fault string, client, server *net.TCPConn, rest []byte) {
	b.mu.Lock()
	next := b.next
	b.mu.Unlock()
	switch fault {
	case "cut":
		_ = server.Close()
	case "reset":
		_ = server.SetLinger(0)
		_ = server.Close()
		_ = client.SetLinger(0)
	case "stall":
		time.Sleep(time.Second) // in which the client waits
	case "late":
		go func() {
			<-next
			time.Sleep(50 * time.Millisecond) // in which the server takes the other connection up
			_, _ = server.Write(rest)
		}()
	}
	_ = client.Close()
}

// wantAll fails the test if something has not happened to any connection.
func (b *badNetwork) wantAll(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range faults {
		if b.did[fault] == 0 {
			t.Errorf("no connection was hit by %q: %v", fault, b.did)
		}
	}
	t.Logf("what became of connections: %v", b.did)
}
