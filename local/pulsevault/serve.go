package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"pulsevault/pkg/app"
	"pulsevault/pkg/redisdb"
)

type serveCommand struct{}

// garbagePercent is how much garbage may come together before it is collected, in percent of the memory in use, where GOGC
// does not say. A server has a few MB in use, so that costs little memory; a seventh of a signed link's processor time went
// into collecting twice as often.
const garbagePercent = 200

// Run serves until ctx ends.
func (serveCommand) Run(ctx context.Context) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	c, log, err := configure()
	if err != nil {
		return err
	}
	listener, err := listen(c)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // closed already when it has served
	a, redis, closeAll, err := open(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	welcome(c, listener.Addr(), redis)
	return run(ctx, a, "serve", func(ctx context.Context) error { return a.Serve(ctx, listener) }, func(ctx context.Context) error {
		a.RunAuditChecks(ctx)
		return nil
	})
}

// open wires an App that can do what c asks for, with an embedded Redis if c names none, and says which Redis it has.
func open(ctx context.Context, c app.Config, log *slog.Logger) (a *app.App, redis string, closeAll func() error, err error) {
	redis = c.RedisAddr
	closeRedis := func() error { return nil }
	if redis == "" {
		embedded, err := startRedis(&c, log)
		if err != nil {
			return nil, "", nil, err
		}
		closeRedis = embedded.Close
		redis = "embedded, at " + c.RedisAddr
	}
	if a, err = app.New(ctx, c, log); err != nil {
		return nil, "", nil, errors.Join(err, closeRedis())
	}
	closeAll = func() error { return errors.Join(a.Close(), closeRedis()) }
	if err := a.CanWork(ctx); err != nil {
		return nil, "", nil, errors.Join(err, closeAll())
	}
	return a, redis, closeAll, nil
}

type workerCommand struct{}

// Run works on tasks until ctx ends.
func (workerCommand) Run(ctx context.Context) (err error) {
	c, log, err := configure()
	if err != nil {
		return err
	}
	switch {
	case c.WorkerConcurrency == 0:
		return errors.New("WORKER_CONCURRENCY=0 leaves a worker nothing to do: set it to 1 or more")
	case !c.TranscodeEnabled:
		return errors.New("TRANSCODE_ENABLED=false leaves a worker nothing to do: set it to true")
	}
	a, err := app.New(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.CanWork(ctx); err != nil {
		return err
	}
	if c.MetricsAddr == "" {
		return run(ctx, a, "worker")
	}
	listener, err := listenAt(c.MetricsAddr, "METRICS_ADDR")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // closed already when it has served
	log.InfoContext(ctx, "health and metrics are told", "addr", listener.Addr().String())
	return run(ctx, a, "worker", func(ctx context.Context) error { return a.ServeMonitoring(ctx, listener) })
}

// run runs the loops that every process has, and those of its own, until ctx ends or one of them fails.
func run(ctx context.Context, a *app.App, name string, own ...func(context.Context) error) error {
	a.Started(ctx, name)
	group, ctx := errgroup.WithContext(ctx)
	for _, loop := range own {
		group.Go(func() error { return loop(ctx) })
	}
	group.Go(func() error { return a.RunWorker(ctx) })
	group.Go(func() error {
		a.RunSweeps(ctx)
		return nil
	})
	group.Go(func() error {
		a.RunCheckpoints(ctx)
		return nil
	})
	return group.Wait()
}

func listen(c app.Config) (net.Listener, error) {
	return listenAt(net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), "PORT")
}

// listenAt listens at an address, and names the setting that it comes from where that cannot be.
func listenAt(addr, setting string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("something listens on %s already: stop it, or set %s to a free port", addr, setting)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("not allowed to listen on %s: set %s to a port above 1023", addr, setting)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

func startRedis(c *app.Config, log *slog.Logger) (*redisdb.Embedded, error) {
	if err := os.MkdirAll(c.MediaRoot, 0o750); err != nil {
		return nil, fmt.Errorf("MEDIA_ROOT %s cannot be made: %w", c.MediaRoot, err)
	}
	embedded, err := redisdb.StartEmbedded(redisdb.EmbeddedConfig{Dir: c.MediaRoot, Logger: log})
	if errors.Is(err, os.ErrPermission) { // the default one may be another user's
		return nil, fmt.Errorf("MEDIA_ROOT %s belongs to somebody else: is it writable? Set MEDIA_ROOT to a folder of this user: %w", c.MediaRoot, err)
	}
	if err != nil {
		return nil, err
	}
	opts := embedded.Options()
	c.RedisAddr, c.RedisPassword, c.RedisDB = opts.Addr, opts.Password, opts.DB
	return embedded, nil
}

// welcome tells a person at a terminal where things are and what to try.
func welcome(c app.Config, addr net.Addr, redis string) {
	secret := "HMAC_SECRET"
	switch {
	case c.SecretFile != "":
		secret = "in " + c.SecretFile
	case c.Secret == "":
		secret = "made for development, in " + c.MediaRoot
	}
	url := "http://" + addr.String()
	if tcp, ok := addr.(*net.TCPAddr); ok && (tcp.IP.IsLoopback() || tcp.IP.IsUnspecified()) {
		url = fmt.Sprintf("http://localhost:%d", tcp.Port)
	}
	media, audit := c.MediaRoot, c.AuditDir
	if c.InBucket {
		media = "bucket " + c.S3Bucket
		audit = media
	}
	fmt.Printf(`PulseVault %s is serving on %s
  media    %s
  audit    %s
  redis    %s
  secret   %s
  workers  %d
try: curl %s/readyz
     make workflow    (in another terminal: a video from upload to playback)
`, app.Version, url, media, audit, redis, secret, c.WorkerConcurrency, url)
}
