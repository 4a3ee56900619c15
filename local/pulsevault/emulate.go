package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"pulsevault/local/emulator"
	"pulsevault/pkg/app"
	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// functionFlags say which functions to host.
type functionFlags struct {
	Template  string `help:"The SAM template that describes the functions." default:"template.yaml" type:"existingfile"`
	Functions string `help:"The folder of the compiled functions (make build)." default:"bin/functions" type:"existingdir"`
}

type emulateCommand struct {
	functionFlags
	Concurrency int           `help:"Processes of one function at a time." default:"10"`
	Idle        time.Duration `help:"Stop a process that nobody has needed for this long." default:"5m"`
}

// Run hosts the functions until ctx ends.
func (e emulateCommand) Run(ctx context.Context) (err error) {
	c, log, err := configure()
	if err != nil {
		return err
	}
	template, err := emulator.ReadTemplate(e.Template)
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
	host := emulator.New(emulator.Config{
		Template: template, Dir: e.Functions, Env: functionEnvironment(c), Concurrency: e.Concurrency, Idle: e.Idle,
		Log: os.Stderr, Metrics: emulator.NewMetrics(a.Registry),
	})
	defer host.Close()
	gateway, err := emulator.NewGateway(host, log)
	if err != nil {
		return err
	}
	welcome(c, listener.Addr(), redis)
	return e.host(ctx, a, host, listener, secured(c, withMetrics(c, a, gateway)), template, log)
}

// The queues of the template.
const (
	taskQueue  = "TaskQueue"
	pieceQueue = "PieceQueue"
	auditQueue = "AuditQueue"
)

// host runs what calls the functions: the API, the queue and the schedules.
func (e emulateCommand) host(ctx context.Context, a *app.App, host *emulator.Emulator, l net.Listener, h http.Handler, t emulator.Template, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return app.ServeHandler(ctx, l, h, log) })
	for _, f := range t.Functions {
		for _, q := range f.Queues {
			switch q.Name {
			case taskQueue: // and pieceQueue, for one worker takes from both
				group.Go(func() error { return a.RunTasks(ctx, deliver(host, f.Name)) })
			case auditQueue:
				group.Go(func() error { return a.RunAudit(ctx, q.BatchSize, deliverEvents(host, f.Name)) })
			}
		}
		if f.Every > 0 {
			group.Go(func() error { return tick(ctx, host, f, log) })
		}
	}
	return group.Wait()
}

// deliver has a function carry out tasks, one to an event: asynq hands them out one by one.
func deliver(host *emulator.Emulator, function string) func(context.Context, vault.Task, bool) error {
	return func(ctx context.Context, t vault.Task, final bool) error {
		body, err := json.Marshal(t)
		if err != nil {
			return err
		}
		received := 1
		if final { // how a function learns of it
			received = queue.MaxTries
		}
		from := taskQueue
		if queue.Of(t) == queue.PiecesQueue {
			from = pieceQueue
		}
		return host.Deliver(ctx, function, from, emulator.Message{Body: string(body), Received: received})[0]
	}
}

// deliverEvents has a function record events, one batch after the other.
func deliverEvents(host *emulator.Emulator, function string) func(context.Context, []sqsqueue.Message) []error {
	return func(ctx context.Context, batch []sqsqueue.Message) []error {
		var messages []emulator.Message
		for _, m := range batch {
			messages = append(messages, emulator.Message{Body: m.Body, Group: m.Group, Received: m.Received})
		}
		return host.Deliver(ctx, function, auditQueue, messages...)
	}
}

// tick calls a function now and then as its schedule says.
func tick(ctx context.Context, host *emulator.Emulator, f emulator.Function, log *slog.Logger) error {
	ticker := time.NewTicker(f.Every)
	defer ticker.Stop()
	for {
		if err := host.Tick(ctx, f.Name); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "scheduled call failed", "function", f.Name, "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// withMetrics answers /metrics here: no API leads to it, and the functions come and go.
func withMetrics(c app.Config, a *app.App, next http.Handler) http.Handler {
	if !c.MetricsEnabled {
		return next
	}
	metrics := promhttp.HandlerFor(a.Registry, promhttp.HandlerOpts{Registry: a.Registry})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			metrics.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// secured gives what the gateway answers by itself the headers that the functions give their answers.
func secured(c app.Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.Secure(w.Header(), r, len(c.CORSOrigins) > 0)
		next.ServeHTTP(w, r)
	})
}

// functionEnvironment is ours, with the folders as we have understood them, for functions run in folders of their own. What
// the template says of the place where it is deployed is not so here, even where we say nothing.
func functionEnvironment(c app.Config) []string {
	env := append(os.Environ(), "MEDIA_ROOT="+c.MediaRoot, "UPLOAD_DIR="+c.UploadDir, "VIDEO_DIR="+c.VideoDir, "AUDIT_DIR="+c.AuditDir)
	for _, name := range []string{"APP_ENV", "AUTH_MODE", "ALLOW_UNAUTHENTICATED", "OIDC_ISSUER", "OIDC_AUDIENCE", "OIDC_ROLES_CLAIM", "AUDIT_QUEUE_URL", "MAX_UPLOAD_SIZE", "QUEUE", "REDIS_TLS", "STORAGE"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}
