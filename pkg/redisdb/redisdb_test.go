package redisdb_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

func TestCountersCountOverAllClients(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		a := redisdb.Counters{Client: redistest.Client(t, o), Logger: redistest.Logger(t)}
		b := redisdb.Counters{Client: redistest.Client(t, o), Logger: redistest.Logger(t)}
		if got, err := a.Totals(t.Context()); err != nil || got != (redisdb.Totals{}) {
			t.Fatalf("before anything was counted: %+v, %v", got, err)
		}
		a.CountUpload(t.Context())
		b.CountUpload(t.Context())
		b.CountTranscode(t.Context(), true)
		b.CountTranscode(t.Context(), true)
		a.CountTranscode(t.Context(), true)
		a.CountTranscode(t.Context(), false)
		want := redisdb.Totals{UploadsCompleted: 2, TranscodeSuccess: 3, TranscodeFailed: 1}
		if got, err := b.Totals(t.Context()); err != nil || got != want {
			t.Fatalf("totals are %+v, %v; want %+v", got, err, want)
		}
	})
}

// A Redis is believed that shows a certificate for its address, by an authority that we trust, and no other.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate
	server.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	m, err := miniredis.RunTLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: server.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	m.RequireAuth("secret")
	ping := func(config *tls.Config) error {
		return redistest.Client(t, redisdb.Options{Addr: m.Addr(), Password: "secret", TLS: config}).Ping(t.Context()).Err()
	}
	if err := ping(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trusted}); err != nil {
		t.Errorf("a trusted certificate: %v", err)
	}
	if err := ping(&tls.Config{MinVersion: tls.VersionTLS12}); err == nil { // which says why, or that it took too long
		t.Error("a certificate of an unknown authority is trusted")
	}
	if err := ping(nil); err == nil {
		t.Error("it answers without TLS")
	}
}

func TestProgressIsKeptBetween0And1(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		c := redistest.Client(t, o)
		p := redisdb.Progress{Client: c, Logger: redistest.Logger(t)}
		id := vault.NewVideoID()
		if _, ok := p.Progress(t.Context(), id); ok {
			t.Fatal("there is progress before any was noted")
		}
		for in, want := range map[float64]float64{0.25: 0.25, -1: 0, 7: 1} {
			p.SetProgress(t.Context(), id, in)
			if got, ok := p.Progress(t.Context(), id); !ok || got != want {
				t.Errorf("progress %v came back as %v, %v", in, got, ok)
			}
		}
		if ttl := c.TTL(t.Context(), redisdb.ProgressKey(id)).Val(); ttl <= 0 {
			t.Errorf("progress is kept for ever (TTL %v)", ttl)
		}
	})
}

func TestCache(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		client := redistest.Client(t, o)
		c := redisdb.Cache{Client: client, TTL: time.Minute, Logger: redistest.Logger(t)}
		id := vault.NewVideoID()
		c.Put(t.Context(), id, []byte("old"))
		if got, ok := c.Get(t.Context(), id); !ok || string(got) != "old" {
			t.Fatalf("cached %q, %v", got, ok)
		}
		if err := c.Drop(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Get(t.Context(), id); ok {
			t.Fatalf("after a drop the cache holds %q", got)
		}
		c.Put(t.Context(), id, []byte("new"))
		if got, ok := c.Get(t.Context(), id); !ok || string(got) != "new" {
			t.Fatalf("cached %q, %v", got, ok)
		}
		if ttl := client.TTL(t.Context(), redisdb.MetadataKey(id)).Val(); ttl <= 0 {
			t.Errorf("metadata is cached for ever (TTL %v)", ttl)
		}
	})
}

func TestHeadsAreKeptAsTheyAreGiven(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		h := redisdb.Heads{Client: redistest.Client(t, o)}
		if head, ok, err := h.Head(t.Context(), "access"); ok || err != nil {
			t.Fatalf("a head before any was noted: %q, %v, %v", head, ok, err)
		}
		for _, head := range []string{`{"seq":9}`, `{"seq":10}`, `{"seq":2}`} { // lower after a gap
			if err := h.SetHead(t.Context(), "access", []byte(head)); err != nil {
				t.Fatal(err)
			}
			if got, ok, err := h.Head(t.Context(), "access"); err != nil || !ok || string(got) != head {
				t.Errorf("head is %q, %v, %v; want %q", got, ok, err, head)
			}
		}
		if _, ok, err := h.Head(t.Context(), "upload"); ok || err != nil {
			t.Errorf("another chain has a head: %v, %v", ok, err)
		}
	})
}

func TestNothingHangsWithoutRedis(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, addr := range map[string]string{"refuses": "127.0.0.1:1", "hangs": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			c := redistest.Client(t, redisdb.Options{Addr: addr})
			log := redistest.Logger(t)
			id := vault.NewVideoID()
			ctx := context.Background() // sets no limit: each call has its own
			if c.Ping(ctx).Err() == nil {
				t.Error("ping succeeds")
			}
			counters := redisdb.Counters{Client: c, Logger: log}
			counters.CountUpload(ctx)
			if _, err := counters.Totals(ctx); err == nil {
				t.Error("there are totals")
			}
			cache := redisdb.Cache{Client: c, Logger: log}
			if _, ok := cache.Get(ctx, id); ok {
				t.Error("the cache has something")
			}
			cache.Put(ctx, id, []byte("x"))
			if cache.Drop(ctx, id) == nil {
				t.Error("drop succeeds")
			}
			redisdb.Progress{Client: c, Logger: log}.SetProgress(ctx, id, 0.5)
		})
	}
}
