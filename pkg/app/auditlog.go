package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/redisdb"
)

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
// if it answers, or in what the embedded one has saved.
func VerifyAudit(ctx context.Context, c Config, log *slog.Logger) (audit.Report, error) {
	opts := c.redis()
	if opts.Addr == "" {
		found, err := redisdb.FindEmbedded(c.MediaRoot)
		if err != nil {
			return audit.Verify(ctx, c.AuditDir, keptHeads(c.MediaRoot))
		}
		opts = found
	}
	client := redisdb.Open(opts)
	defer func() { _ = client.Close() }()
	ping, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := client.Ping(ping).Err(); err != nil {
		log.WarnContext(ctx, "Redis does not answer: the log is checked against the heads on disk only", "error", err)
		return audit.Verify(ctx, c.AuditDir, nil)
	}
	return audit.Verify(ctx, c.AuditDir, auditHeads{redisdb.Heads{Client: client}})
}
