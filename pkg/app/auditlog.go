package app

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/media"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/redisdb"
)

// auditLog is the log itself, in a directory or in a bucket, or the way to a queue from which somebody else appends to it.
type auditLog interface {
	Append(ctx context.Context, c audit.Category, e audit.Event) error
	Note(ctx context.Context, c audit.Category, e audit.Event) error
	Close() error
}

func (a *App) openAudit(ctx context.Context) error {
	c, metrics := a.config, audit.NewMetrics(a.Registry)
	var heads audit.HeadStore
	if a.redis != nil {
		heads = auditHeads{redisdb.Heads{Client: a.redis}}
	}
	if c.AuditQueueURL != "" {
		o := sqsqueue.Options{URL: c.AuditQueueURL, Region: c.AWSRegion, Endpoint: c.SQSEndpoint}
		q, err := sqsqueue.OpenFIFO(ctx, o, a.Log)
		if err != nil {
			return err
		}
		a.auditQueue = q
		a.audit = audit.NewOutbox(audit.OutboxConfig{To: q, FullIP: c.AuditFullIP, Metrics: metrics})
		return nil
	}
	var err error
	if a.signer, err = c.signer(); err != nil {
		return err
	}
	if bucket, ok := a.media.(*media.Bucket); ok {
		ledger, err := audit.OpenLedger(audit.LedgerConfig{Bucket: bucket, FullIP: c.AuditFullIP, Heads: heads, Logger: a.Log, Metrics: metrics})
		if err != nil {
			return err
		}
		a.audit = ledger
		return nil
	}
	log, err := audit.Open(audit.Config{Dir: c.AuditDir, FullIP: c.AuditFullIP, Heads: heads, Logger: a.Log, Metrics: metrics})
	if err != nil {
		return err
	}
	a.audit = log
	return nil
}

// RunAudit hands out the events in the queue, so many at a time at most and one batch after the other, until ctx ends. It
// returns at once where there is no queue.
func (a *App) RunAudit(ctx context.Context, most int, deliver func(context.Context, []sqsqueue.Message) []error) error {
	if a.auditQueue != nil {
		a.auditQueue.Run(ctx, most, deliver)
	}
	return nil
}

// auditHeads keeps the heads of the audit chains in Redis, apart from the log.
type auditHeads struct{ redis redisdb.Heads }

func (h auditHeads) Save(ctx context.Context, c audit.Category, head audit.Head) error {
	data, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("keep head of %s: %w", c, err)
	}
	return h.redis.SetHead(ctx, string(c), data)
}

func (h auditHeads) Load(ctx context.Context, c audit.Category) (audit.Head, bool, error) {
	data, ok, err := h.redis.Head(ctx, string(c))
	return parseHead(c, data, ok, err)
}

// keptHeads are the heads that the embedded Redis of a folder has kept.
type keptHeads string

func (h keptHeads) Load(_ context.Context, c audit.Category) (audit.Head, bool, error) {
	data, ok, err := redisdb.KeptHead(string(h), string(c))
	return parseHead(c, data, ok, err)
}

func parseHead(c audit.Category, data []byte, ok bool, err error) (head audit.Head, _ bool, _ error) {
	if err != nil || !ok {
		return head, false, err
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return head, false, fmt.Errorf("head of %s: %w", c, err)
	}
	return head, true, nil
}

// VerifyAudit checks the audit log of a configuration, against the heads kept in Redis too: in the one that is configured,
// if it answers, or in what the embedded one has saved. Checkpoints must be signed by one of the public keys, if any are
// given.
func VerifyAudit(ctx context.Context, c Config, log *slog.Logger, keys []string, progress *audit.Progress) (audit.Report, error) {
	verifiers, err := verifiers(keys)
	if err != nil {
		return audit.Report{}, err
	}
	against := func(heads audit.HeadReader) audit.Inspection {
		return audit.Inspection{Heads: heads, Keys: verifiers, Progress: progress}
	}
	verify := func(heads audit.HeadReader) (audit.Report, error) { return against(heads).Dir(ctx, c.AuditDir) }
	if c.InBucket {
		bucket, err := c.openBucket(ctx)
		if err != nil {
			return audit.Report{}, err
		}
		defer func() { _ = bucket.Close() }() // nothing was taken out of it
		verify = func(heads audit.HeadReader) (audit.Report, error) { return against(heads).Bucket(ctx, bucket) }
	}
	opts := c.redis()
	if opts.Addr == "" {
		found, err := redisdb.FindEmbedded(c.MediaRoot)
		if err != nil {
			return verify(keptHeads(c.MediaRoot))
		}
		opts = found
	}
	client := redisdb.Open(opts)
	defer func() { _ = client.Close() }()
	ping, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := client.Ping(ping).Err(); err != nil {
		log.WarnContext(ctx, "Redis does not answer: the log is checked against the heads kept beside it only", "error", err)
		return verify(nil)
	}
	return verify(auditHeads{redisdb.Heads{Client: client}})
}

// AuditEntries reads the audit log of a configuration. release gives back what it holds.
func AuditEntries(ctx context.Context, c Config, days audit.Days) (entries iter.Seq2[audit.Entry, error], release func(), err error) {
	if !c.InBucket {
		return audit.Entries(ctx, c.AuditDir, days), func() {}, nil
	}
	bucket, err := c.openBucket(ctx)
	if err != nil {
		return nil, nil, err
	}
	return audit.BucketEntries(ctx, bucket, days), func() { _ = bucket.Close() }, nil // nothing was taken out of it
}
