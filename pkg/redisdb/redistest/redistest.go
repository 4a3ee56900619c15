// Package redistest runs a Redis for a test: the embedded kind, or a real redis-server where one is installed.
package redistest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/freeport"
	"pulsevault/pkg/redisdb"
)

// Each runs a test on every kind of Redis there is, side by side.
func Each(t *testing.T, test func(t *testing.T, o redisdb.Options)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, redisdb.Options{Addr: Mini(t).Addr()})
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, Start(t).Options())
	})
}

// Mini runs the kind of Redis that is embedded. Its TTLs run out by themselves.
func Mini(t *testing.T) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.RunT(t)
	m.ClockTTL(true)
	return m
}

// Client returns a client that is closed when the test ends.
func Client(t *testing.T, o redisdb.Options) *redis.Client {
	t.Helper()
	c := redisdb.Open(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Logger returns a logger that writes to the test's log.
func Logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Server is a redis-server.
type Server struct {
	Dir     string // what it keeps on disk
	t       *testing.T
	args    []string
	address string
	cmd     *exec.Cmd
}

// Start runs a redis-server that keeps nothing on disk until the test ends. Without one installed the test is skipped.
func Start(t *testing.T) *Server {
	t.Helper()
	return StartWith(t, "--save", "", "--appendonly", "no")
}

// StartWith runs one with further arguments, by which it may keep something.
func StartWith(t *testing.T, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("NOT TESTED: no redis-server is installed, so nothing is proven on a real Redis: make deps-test installs it")
	}
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Dir: t.TempDir(), t: t, args: args, address: address}
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// Options say how to reach it.
func (s *Server) Options() redisdb.Options {
	return redisdb.Options{Addr: s.address}
}

// Restart starts it again after Stop: at the same address, and with what it has kept. It answers when that is loaded.
func (s *Server) Restart() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.address)
	s.cmd = exec.Command("redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.Dir}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = io.Discard, io.Discard
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	c := redisdb.Open(s.Options())
	defer func() { _ = c.Close() }()
	for end := time.Now().Add(time.Minute); c.Ping(context.Background()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatal("redis-server does not answer")
		}
	}
}

// Stop kills it. What it held is lost, but for what it has kept on disk.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}
