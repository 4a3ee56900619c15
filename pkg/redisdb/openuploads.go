package redisdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/vault"
)

// OpenUploads bounds the uploads of all processes that have not become videos. What is counted here may be off by a few: a
// process may die between counting and doing, and uploads come and go while a sweep counts them. Each sweep puts it right
// by Set; what none has done for openTTL is forgotten, so that a count that nobody keeps holds nobody up.
type OpenUploads struct {
	Client   *redis.Client
	MaxCount int64 // uploads; 0 is no limit
	MaxBytes int64 // of their lengths together; 0 is no limit
	Logger   *slog.Logger
}

const openTTL = 10 * time.Minute

// takeScript counts an upload unless one of the limits would be exceeded.
//
//	KEYS  the count, the bytes
//	ARGV  the upload's length, most uploads or 0, most bytes or 0, seconds to live
//	→     0 counted, 1 too many uploads, 2 too many bytes
var takeScript = redis.NewScript(`
local count, bytes = tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(redis.call('GET', KEYS[2]) or 0)
local size, most, mostBytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if most > 0 and count >= most then return 1 end
if mostBytes > 0 and bytes + size > mostBytes then return 2 end
redis.call('INCR', KEYS[1])
redis.call('INCRBY', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 0`)

// freeScript takes back what takeScript has counted; below 0 nothing goes, such as after Redis was wiped.
//
//	KEYS  the count, the bytes
//	ARGV  the upload's length
var freeScript = redis.NewScript(`
if tonumber(redis.call('GET', KEYS[1]) or 0) > 0 then redis.call('DECR', KEYS[1]) end
local bytes = tonumber(redis.call('GET', KEYS[2]) or 0)
if bytes > 0 then redis.call('DECRBY', KEYS[2], math.min(bytes, tonumber(ARGV[1]))) end
return 0`)

func openKeys() []string { return []string{OpenCountKey, OpenBytesKey} }

// Take counts an upload that is about to be created, or says why there is no room for it: too many uploads are Unavailable,
// too many bytes NoSpace. Without Redis it lets everybody in.
func (o OpenUploads) Take(ctx context.Context, size int64) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	refused, err := takeScript.Run(ctx, o.Client, openKeys(), size, o.MaxCount, o.MaxBytes, int(openTTL/time.Second)).Int()
	switch {
	case err != nil:
		o.Logger.WarnContext(ctx, "an upload was not counted", "err", err)
	case refused == 1:
		return vault.Errorf(vault.Unavailable, "too_many_uploads", "%d uploads are open, which is as many as are taken at once; try again when some have been finalized", o.MaxCount)
	case refused == 2:
		return vault.Errorf(vault.NoSpace, "too_many_bytes_pending", "the uploads that are open leave no room for another %d bytes; try again when some have been finalized", size)
	}
	return nil
}

// Free takes back an upload that has become a video, or is gone.
func (o OpenUploads) Free(ctx context.Context, size int64) {
	ctx, cancel := aside(ctx)
	defer cancel()
	if err := freeScript.Run(ctx, o.Client, openKeys(), size).Err(); err != nil {
		o.Logger.WarnContext(ctx, "an upload was not uncounted; the next sweep counts again", "err", err)
	}
}

// Set says how many there are, as counted one by one.
func (o OpenUploads) Set(ctx context.Context, count, bytes int64) error {
	ctx, cancel := context.WithTimeout(ctx, asideTimeout)
	defer cancel()
	_, err := o.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		return errors.Join(p.Set(ctx, OpenCountKey, count, openTTL).Err(), p.Set(ctx, OpenBytesKey, bytes, openTTL).Err())
	})
	if err != nil {
		return fmt.Errorf("redisdb: count open uploads: %w", err)
	}
	return nil
}

// Get tells how many there are, and their bytes.
func (o OpenUploads) Get(ctx context.Context) (count, bytes int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, asideTimeout)
	defer cancel()
	n := [2]int64{}
	for i, key := range openKeys() {
		n[i], err = o.Client.Get(ctx, key).Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, 0, fmt.Errorf("redisdb: read how many uploads are open: %w", err)
		}
	}
	return n[0], n[1], nil
}
