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

func (h auditHeads) Load(ctx context.Context, c audit.Category) (head audit.Head, ok bool, err error) {
	data, ok, err := h.redis.Head(ctx, string(c))
	if err != nil || !ok {
		return head, false, err
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return head, false, fmt.Errorf("head of %s: %w", c, err)
	}
	return head, true, nil
}

// VerifyAudit checks the audit log of a configuration, against the heads in Redis too where one answers.
func VerifyAudit(ctx context.Context, c Config, log *slog.Logger) (audit.Report, error) {
	opts := redisdb.Options{Addr: c.RedisAddr, Password: c.RedisPassword, DB: c.RedisDB}
	var heads audit.HeadStore
	if opts.Addr == "" {
		if found, err := redisdb.FindEmbedded(c.MediaRoot); err == nil {
			opts = found
		}
	}
	if opts.Addr != "" {
		client := redisdb.Open(opts)
		defer func() { _ = client.Close() }()
		ping, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := client.Ping(ping).Err(); err != nil {
			log.WarnContext(ctx, "Redis does not answer: the log is checked against the heads on disk only", "error", err)
		} else {
			heads = auditHeads{redisdb.Heads{Client: client}}
		}
	}
	return audit.Verify(ctx, c.AuditDir, heads)
}
