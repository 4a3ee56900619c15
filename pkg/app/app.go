package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/finalize"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/stream"
	"pulsevault/pkg/token"
	"pulsevault/pkg/transcode"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/videos"
	"pulsevault/pkg/web"
)

// cacheTTL is how long public metadata stays in the cache.
const cacheTTL = 10 * time.Minute

// presenceLease is for how long a process that has seen a video goes by that. One that removes a video waits for twice as long:
// two machines' clocks may differ by some percent in how fast they go.
const presenceLease = 250 * time.Millisecond

// App is PulseVault, wired. Its handlers and loops may run in one process or each in its own.
type App struct {
	Log      *slog.Logger
	Registry *prometheus.Registry

	config     Config
	redis      *redis.Client
	locks      *redisdb.UploadLocks
	media      media.Store
	markers    media.Markers
	uploaded   uploadStore
	videos     *metadata.Store
	audit      auditLog
	signer     note.Signer    // of the audit log's checkpoints; nil if this process makes none
	process    string         // of which the audit log knows that it has started; "" for none
	auditQueue *sqsqueue.FIFO // nil if events go into the log directly
	queue      queue.Queue
	worker     queue.Worker
	counters   redisdb.Counters
	open       redisdb.OpenUploads
	uploads    *upload.Handler
	finalizer  *finalize.Finalizer
	transcoder *transcode.Transcoder
	streamer   *stream.Streamer
	collection *videos.Collection
	observer   *web.Observer
	gate       gate
	denials    *denials
	keys       *auth.Keyring
	running    *prometheus.GaugeVec // the tasks under way, by type
}

// uploadStore is what keeps uploads: an upload.Dir or an upload.Bucket.
type uploadStore interface {
	upload.Store
	upload.Deliverer
}

// delivery is the store of uploads as finalize sees it: what has become a video leaves room for others.
type delivery struct {
	uploadStore
	open redisdb.OpenUploads
}

func (d delivery) Deliver(ctx context.Context, u vault.Upload) error {
	err := d.uploadStore.Deliver(ctx, u)
	if err == nil {
		d.open.Free(ctx, u.Size)
	}
	return err
}

// New wires an App. Its Redis must be running; c names it. Close gives back what it holds.
func New(ctx context.Context, c Config, log *slog.Logger) (*App, error) {
	a := &App{Log: log, Registry: prometheus.NewRegistry(), config: c}
	steps := []func(context.Context) error{a.openStorage, a.openRedis, a.openAudit, a.openQueue, a.openGate, a.wireUploads, a.wireCollection, a.wireVideos, a.wireStream, a.openMetrics}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	a.observer = &web.Observer{Log: log, TrustedProxies: c.TrustedProxies, OtherOrigins: len(c.CORSOrigins) > 0, Metrics: web.NewMetrics(a.Registry)}
	return a, nil
}

// Close flushes what is still to be written and gives everything back.
func (a *App) Close() error {
	var errs []error
	if a.locks != nil {
		errs = append(errs, a.locks.Close())
	}
	if a.audit != nil {
		if a.denials != nil {
			a.denials.Flush()
		}
		a.stopped()
		errs = append(errs, a.audit.Close())
	}
	if a.redis != nil {
		errs = append(errs, a.redis.Close())
	}
	if b, ok := a.media.(*media.Bucket); ok {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

func (a *App) openRedis(ctx context.Context) error {
	opts := a.config.redis()
	if opts.Addr == "" {
		found, err := redisdb.FindEmbedded(a.config.MediaRoot)
		if err != nil {
			return err
		}
		opts = found
	}
	a.redis = redisdb.Open(opts)
	a.open = redisdb.OpenUploads{Client: a.redis, MaxCount: a.config.MaxOpenUploads, MaxBytes: a.config.MaxPendingBytes, Logger: a.Log}
	a.locks = &redisdb.UploadLocks{Client: a.redis, Dir: a.config.UploadDir, Logger: a.Log}
	a.locks.Start(context.WithoutCancel(ctx))
	if err := a.redis.Ping(ctx).Err(); err != nil {
		// Not the end: /readyz tells, and what needs Redis answers 503 until it is there.
		a.Log.WarnContext(ctx, "Redis does not answer yet", "addr", opts.Addr, "error", err)
	}
	return nil
}

func (a *App) wireUploads(context.Context) (err error) {
	a.uploads, err = upload.NewHandler(upload.Config{
		Store: a.uploaded, Locker: a.locks, Audit: a.audit, Counter: a.counters, Room: a.open, Now: time.Now,
		Metrics: upload.NewMetrics(a.Registry), MaxSize: a.config.MaxUploadSize,
		Policy: a.gate.policy, Denials: a.denials, PublicPath: a.config.PublicPath, Log: a.Log,
	})
	return err
}

func (a *App) wireVideos(context.Context) error {
	a.finalizer = &finalize.Finalizer{
		Uploads: delivery{a.uploaded, a.open}, Locks: a.locks, Markers: a.markers, Videos: a.videos, Audit: a.audit, Checksum: upload.Checksum,
		Policy: a.gate.policy, Denials: a.denials,
		Enqueue:  a.enqueue,
		Enlist:   a.collection.Enlist,
		Gone:     a.collection.Gone,
		Stands:   a.collection.Stands,
		Announce: a.uploads.Announce,
		Accepts: func(contentType string) bool {
			_, ok := transcode.Demuxer(contentType)
			return ok
		},
		Transcode: a.config.TranscodeEnabled, Now: time.Now, Metrics: finalize.NewMetrics(a.Registry), Log: a.Log,
	}
	a.transcoder = &transcode.Transcoder{
		Videos: a.videos, Store: a.media, Workshop: a.media.(media.Workshop), Markers: a.markers, Audit: a.audit, Progress: redisdb.Progress{Client: a.redis, Logger: a.Log},
		Counter: a.counters, Enqueue: a.enqueue,
		Ladder: a.config.Renditions, PieceSeconds: a.config.PieceSeconds, FFmpegThreads: a.config.FFmpegThreads,
		Metrics: transcode.NewMetrics(a.Registry), Log: a.Log,
	}
	return nil
}

func (a *App) wireStream(context.Context) error {
	c := a.config
	signer, proofs, err := a.signers()
	if err != nil {
		return err
	}
	links, _ := a.media.(media.Linker)
	a.streamer = &stream.Streamer{
		Signer: signer, Proofs: proofs, Media: a.media, Links: links, MaxDirect: c.maxDirect, Videos: a.videos, Progress: redisdb.Progress{Client: a.redis, Logger: a.Log}, Audit: a.audit,
		Expiry: c.TokenExpiry, MaxExpiry: c.TokenMax, PublicPath: c.PublicPath, Lease: presenceLease, Log: a.Log,
		Open: c.AuthMode == AuthNone, Policy: a.gate.policy, Keys: a.keys, Denials: a.denials, Metrics: stream.NewMetrics(a.Registry),
	}
	return nil
}

// signers are that of links, and that of the proofs which a proxy hands back.
func (a *App) signers() (links, proofs *token.Signer, err error) {
	if a.config.SecretFile != "" {
		return a.signersOfFile()
	}
	secret, previous := a.config.Secret, a.config.PreviousSecret
	if secret == "" {
		if secret, err = developmentSecret(a.config.MediaRoot); err != nil {
			return nil, nil, err
		}
	}
	if links, err = token.New(secret, previous, time.Now); err != nil {
		return nil, nil, err
	}
	proofs, err = token.New(token.Derive(secret, stream.ProofUse), token.Derive(previous, stream.ProofUse), time.Now)
	return links, proofs, err
}

func (a *App) signersOfFile() (links, proofs *token.Signer, err error) {
	file, err := token.OpenFile(a.config.SecretFile, time.Now, a.Log)
	if err != nil {
		return nil, nil, fmt.Errorf("HMAC_SECRET_FILE: %w", err)
	}
	if links, err = file.Signer(""); err != nil {
		return nil, nil, err
	}
	proofs, err = file.Signer(stream.ProofUse)
	return links, proofs, err
}

// CanWork reports whether this process can do the work that its configuration asks for.
func (a *App) CanWork(ctx context.Context) error {
	if !a.config.works() {
		return nil
	}
	if err := a.transcoder.Ready(ctx); err != nil {
		return fmt.Errorf("a worker cannot transcode here; mend that, or set WORKER_CONCURRENCY=0 to serve without one: %w", err)
	}
	return nil
}
