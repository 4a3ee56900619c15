package redisdb

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/vault"
)

const (
	defaultCacheTTL = 5 * time.Minute
	progressTTL     = 10 * time.Minute
)

// Cache keeps the public metadata of videos. It is best effort: without Redis every Get misses.
type Cache struct {
	Client *redis.Client
	TTL    time.Duration // 0 means 5 minutes
	Logger *slog.Logger
}

// Get returns what is cached for a video.
func (c Cache) Get(ctx context.Context, id vault.VideoID) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(ctx, asideTimeout)
	defer cancel()
	data, err := c.Client.Get(ctx, MetadataKey(id)).Bytes()
	return data, err == nil
}

// Put caches data. It does not know whether that is from before or after a write: whoever reads it must be able to tell.
func (c Cache) Put(ctx context.Context, id vault.VideoID, data []byte) {
	ctx, cancel := aside(ctx)
	defer cancel()
	ttl := c.TTL
	if ttl <= 0 {
		ttl = defaultCacheTTL
	}
	if err := c.Client.Set(ctx, MetadataKey(id), data, ttl).Err(); err != nil {
		c.Logger.DebugContext(ctx, "metadata was not cached", "videoId", id, "err", err)
	}
}

// Drop forgets what is cached for a video.
func (c Cache) Drop(ctx context.Context, id vault.VideoID) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := c.Client.Del(ctx, MetadataKey(id)).Err(); err != nil {
		return fmt.Errorf("redisdb: drop cached metadata: %w", err)
	}
	return nil
}

// Progress tells every process how far a running transcode is. It is best effort.
type Progress struct {
	Client *redis.Client
	Logger *slog.Logger
}

// SetProgress notes how far the transcode of a video is, 0…1.
func (p Progress) SetProgress(ctx context.Context, id vault.VideoID, done float64) {
	ctx, cancel := aside(ctx)
	defer cancel()
	value := strconv.FormatFloat(min(max(done, 0), 1), 'f', 4, 64)
	if err := p.Client.Set(ctx, ProgressKey(id), value, progressTTL).Err(); err != nil {
		p.Logger.DebugContext(ctx, "progress was not noted", "videoId", id, "err", err)
	}
}

// Drop forgets what was noted for a video.
func (p Progress) Drop(ctx context.Context, id vault.VideoID) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := p.Client.Del(ctx, ProgressKey(id)).Err(); err != nil {
		return fmt.Errorf("redisdb: drop progress: %w", err)
	}
	return nil
}

// Progress returns what was last noted for a video, and whether anything was lately.
func (p Progress) Progress(ctx context.Context, id vault.VideoID) (float64, bool) {
	ctx, cancel := context.WithTimeout(ctx, asideTimeout)
	defer cancel()
	done, err := p.Client.Get(ctx, ProgressKey(id)).Float64()
	return done, err == nil
}
