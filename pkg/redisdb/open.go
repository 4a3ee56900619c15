package redisdb

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/internal/secretfile"
)

// Options say where a Redis is.
type Options struct {
	Addr     string // host:port
	Password string
	// PasswordFile is a file of secrets whose first line is the password, in place of Password. Every new connection reads it, so
	// that the password can be changed: a connection that is open stays good.
	PasswordFile string
	DB           int
	TLS          *tls.Config // nil: not encrypted
	// Dir is the folder of an embedded Redis. It has another address and password each time it is started, so that every
	// new connection looks them up there.
	Dir string
}

const (
	commandTimeout = time.Second            // of dialling, of a read and of a write
	asideTimeout   = 500 * time.Millisecond // of what nobody should wait for: counters, cache, progress
	poolSize       = 32
)

// Open returns a client that gives an error within two seconds when Redis is dead, hangs or cannot be reached. It does
// not connect yet. Nothing is sent twice: a counter must not count double because an answer was late, and a connection
// that broke while it lay idle is noticed before it is used.
func Open(o Options) *redis.Client {
	opts := &redis.Options{
		Addr:                  o.Addr,
		Password:              o.Password,
		DB:                    o.DB,
		TLSConfig:             o.TLS,
		Protocol:              2,
		DialTimeout:           commandTimeout,
		ReadTimeout:           commandTimeout,
		WriteTimeout:          commandTimeout,
		PoolTimeout:           commandTimeout,
		MaxRetries:            -1,
		DialerRetries:         1,
		PoolSize:              poolSize,
		ContextTimeoutEnabled: true,
	}
	if o.PasswordFile != "" {
		opts.CredentialsProviderContext = func(context.Context) (username, password string, err error) {
			secrets, err := secretfile.Read(o.PasswordFile)
			if err != nil {
				return "", "", fmt.Errorf("redisdb: %w", err)
			}
			return "", secrets[0], nil
		}
	}
	if o.Dir != "" {
		opts.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			a, err := readAddress(o.Dir)
			if err != nil {
				return nil, fmt.Errorf("redisdb: no embedded Redis in %s: %w", o.Dir, err)
			}
			dialer := net.Dialer{Timeout: commandTimeout}
			return dialer.DialContext(ctx, network, a.Addr)
		}
		opts.CredentialsProviderContext = func(context.Context) (username, password string, err error) {
			a, err := readAddress(o.Dir)
			return "", a.Password, err
		}
	}
	return redis.NewClient(opts)
}

// aside bounds work that is done beside a request and must neither hold it up nor be cut off when the client goes.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), asideTimeout)
}
