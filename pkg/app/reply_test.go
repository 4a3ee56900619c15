package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/app"
)

// counted is a listener whose connections count what is written to them.
type counted struct {
	net.Listener
	writes *atomic.Int64
}

type countedConn struct {
	*net.TCPConn
	writes *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c.(*net.TCPConn), l.writes}, nil
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(b)
}

// A small body leaves in one piece with its head, a large one behind it by sendfile, and every answer arrives whole on one
// connection, also those that have no body.
func TestSmallBodiesLeaveWithTheirHead(t *testing.T) {
	content := make([]byte, 200<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	path := filepath.Join(t.TempDir(), "content.bin")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	url, writes := serveCounted(t, func(w http.ResponseWriter, r *http.Request) { serveFile(w, r, path) })
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	for _, ask := range []struct {
		method, header, value string
		status                int
		body                  []byte
	}{
		{"GET", "Range", "bytes=1000-17383", 206, content[1000:17384]},
		{"HEAD", "Range", "bytes=1000-17383", 206, nil},
		{"GET", "Range", "bytes=0-0", 206, content[:1]},
		{"GET", "Range", "bytes=0-65535", 206, content[:64<<10]},
		{"GET", "Range", "bytes=0-65536", 206, content[:64<<10+1]},
		{"GET", "X-Whole", "yes", 200, content},
		{"GET", "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 304, nil},
		{"GET", "Range", "bytes=-16384", 206, content[len(content)-16<<10:]},
	} {
		before := writes.Load()
		r, err := http.NewRequestWithContext(t.Context(), ask.method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(ask.header, ask.value)
		what := fmt.Sprint(ask.method, " ", ask.header, ": ", ask.value)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != ask.status || !bytes.Equal(body, ask.body) {
			t.Errorf("%s: %d with %d bytes, want %d with %d; %v", what, resp.StatusCode, len(body), ask.status, len(ask.body), err)
		}
		if n := writes.Load() - before; n != 1 {
			t.Errorf("%s: written in %d pieces, want one beside a file's own", what, n)
		}
	}
}

// A file that has become shorter since its answer began ends the connection, and the client sees that there is less than
// it was told.
func TestBodiesThatAreShorterThanTheirHeadSays(t *testing.T) {
	url, _ := serveCounted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp2t")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.CopyN(w, bytes.NewReader(make([]byte, 10)), 1000)
	})
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err == nil || len(body) != 10 {
		t.Errorf("%d bytes, %v; want the 10 that there are, and an error", len(body), err)
	}
}

// serveCounted serves h on a server that counts how often it writes.
func serveCounted(t *testing.T, h http.HandlerFunc) (url string, writes *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	writes = new(atomic.Int64)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.ServeHandler(ctx, counted{l, writes}, h, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String() + "/", writes
}
