package redisdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Heads keeps how far each chain of the audit log has come, apart from the log. What a head is made of is the log's
// business.
type Heads struct {
	Client *redis.Client
}

// SetHead replaces the head of a chain.
func (h Heads) SetHead(ctx context.Context, category string, head []byte) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := h.Client.Set(ctx, AuditHeadKey(category), head, 0).Err(); err != nil {
		return fmt.Errorf("redisdb: note head of %s: %w", category, err)
	}
	return nil
}

// Head returns the head of a chain; ok is false if none was noted.
func (h Heads) Head(ctx context.Context, category string) (head []byte, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	head, err = h.Client.Get(ctx, AuditHeadKey(category)).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("redisdb: read head of %s: %w", category, err)
	}
	return head, true, nil
}
