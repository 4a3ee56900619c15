package redisdb

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Counters are the totals over all processes. Counting is best effort: it is logged when it fails, and fails nobody.
type Counters struct {
	Client *redis.Client
	Logger *slog.Logger
}

// Totals are what the counters stand at.
type Totals struct {
	UploadsCompleted int64
	TranscodeSuccess int64
	TranscodeFailed  int64
}

// CountUpload counts an upload whose last byte has arrived.
func (c Counters) CountUpload(ctx context.Context) { c.count(ctx, UploadsCompletedKey) }

// CountTranscode counts a transcode that has come to its end.
func (c Counters) CountTranscode(ctx context.Context, ok bool) {
	if ok {
		c.count(ctx, TranscodeSuccessKey)
		return
	}
	c.count(ctx, TranscodeFailedKey)
}

func (c Counters) count(ctx context.Context, key string) {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := c.Client.Incr(ctx, key).Err(); err != nil {
		c.Logger.WarnContext(ctx, "a total was not counted", "key", key, "err", err)
	}
}

// Totals reads all three. A counter that is not there stands at 0.
func (c Counters) Totals(ctx context.Context) (Totals, error) {
	ctx, cancel := context.WithTimeout(ctx, asideTimeout)
	defer cancel()
	values, err := c.Client.MGet(ctx, UploadsCompletedKey, TranscodeSuccessKey, TranscodeFailedKey).Result()
	if err != nil {
		return Totals{}, fmt.Errorf("redisdb: read totals: %w", err)
	}
	var n [3]int64
	for i, v := range values {
		s, ok := v.(string)
		if !ok {
			continue
		}
		if n[i], err = strconv.ParseInt(s, 10, 64); err != nil {
			return Totals{}, fmt.Errorf("redisdb: read totals: %w", err)
		}
	}
	return Totals{UploadsCompleted: n[0], TranscodeSuccess: n[1], TranscodeFailed: n[2]}, nil
}
