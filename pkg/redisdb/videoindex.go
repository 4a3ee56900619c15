package redisdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/vault"
)

// VideoIndex is the order of all videos, and of those of each owner, for whoever lists them. It is made of the media store,
// and can be made again: until that is done it is not complete, and says so. That it is complete holds for one incarnation of
// Redis: what has begun anew since may have come back older than it was.
//
// Ids of version 7 sort by time, so a set in the order of its members is in the order of time. A set is kept in shelves, one
// for all videos whose ids begin alike, which are those of about three days: the embedded Redis sorts a set each time it is
// asked, so that a single set would take the longer the more videos there are.
type VideoIndex struct{ Client *redis.Client }

// shelfLength is how much of an id names its shelf: 20 of the 48 bits that count milliseconds.
const shelfLength = 5

// checkEvery is how long a complete index is believed before it is compared with the media store again.
const checkEvery = time.Hour

// countingTTL is how long a process that died holds the others up from completing the index.
const countingTTL = 30 * time.Second

// Owned is a video and whose it is; nobody's, if that is not known.
type Owned struct {
	ID    vault.VideoID
	Owner string
}

func shelfOf(id vault.VideoID) string { return string(id[:shelfLength]) }

// addScript puts videos on their shelves, and the shelves into their sets.
//
//	KEYS  the hash of owners, then sets
//	ARGV  how many arguments tell of owners, those as HSET wants them; then for each set: how many follow, those as ZADD wants
var addScript = redis.NewScript(`
local n = tonumber(ARGV[1])
if n > 0 then redis.call('HSET', KEYS[1], unpack(ARGV, 2, n + 1)) end
local at = n + 2
for k = 2, #KEYS do
  n = tonumber(ARGV[at])
  redis.call('ZADD', KEYS[k], unpack(ARGV, at + 1, at + n))
  at = at + n + 1
end
return 0`)

// Add puts some hundred videos at most into the index, all or none. A repeat does nothing.
func (x VideoIndex) Add(ctx context.Context, videos ...Owned) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	args := []any{0}
	sets := map[string][]any{}
	put := func(set, member string) { sets[set] = append(sets[set], 0, member) }
	for _, v := range videos {
		name, id := shelfOf(v.ID), string(v.ID)
		put(ShelfKey(name, ""), id)
		put(VideosOfKey(""), name)
		if v.Owner != "" {
			args = append(args, id, v.Owner)
			put(ShelfKey(name, v.Owner), id)
			put(VideosOfKey(v.Owner), name)
		}
	}
	args[0] = len(args) - 1
	keys := []string{ownersKey}
	for set, members := range sets {
		keys, args = append(keys, set), append(append(args, len(members)), members...)
	}
	return unavailable("add videos to the index", addScript.Run(ctx, x.Client, keys, args...).Err())
}

// removeScript takes a video from its shelves, and a shelf that is empty then from its set.
//
//	KEYS  for each set: the set, the shelf; last the hash of owners
//	ARGV  the video, the name of the shelf
var removeScript = redis.NewScript(`
for i = 1, #KEYS - 1, 2 do
  redis.call('ZREM', KEYS[i + 1], ARGV[1])
  if redis.call('ZCARD', KEYS[i + 1]) == 0 then redis.call('ZREM', KEYS[i], ARGV[2]) end
end
redis.call('HDEL', KEYS[#KEYS], ARGV[1])
return 0`)

// Remove takes videos from the index. A repeat does nothing.
func (x VideoIndex) Remove(ctx context.Context, ids ...vault.VideoID) error {
	for _, id := range ids {
		if err := x.remove(ctx, id); err != nil {
			return unavailable("remove a video from the index", err)
		}
	}
	return nil
}

func (x VideoIndex) remove(ctx context.Context, id vault.VideoID) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	owner, err := x.Client.HGet(ctx, ownersKey, string(id)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	keys := []string{VideosOfKey(""), ShelfKey(shelfOf(id), "")}
	if owner != "" {
		keys = append(keys, VideosOfKey(owner), ShelfKey(shelfOf(id), owner))
	}
	return removeScript.Run(ctx, x.Client, append(keys, ownersKey), string(id), shelfOf(id)).Err()
}

// shelvesAtOnce is how many shelves are asked together, at most.
const shelvesAtOnce = 16

// Before returns the videos of an owner, of all owners if that is empty, that come before an id, all if that is empty too:
// the newest first, at most so many. complete says whether the index held every video all that time.
func (x VideoIndex) Before(ctx context.Context, owner string, id vault.VideoID, most int) (ids []vault.VideoID, complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	from := "+"
	if id != "" {
		from = "[" + shelfOf(id)
	}
	for at := 1; ; at = min(2*at, shelvesAtOnce) { // where there are many videos, the first shelf has enough
		var names *redis.StringSliceCmd
		m, err := x.marked(ctx, func(p redis.Pipeliner) {
			names = p.ZRevRangeByLex(ctx, VideosOfKey(owner), &redis.ZRangeBy{Max: from, Min: "-", Count: int64(at)})
		})
		if err != nil || !m.complete {
			return nil, false, unavailable("read the index of videos", err)
		}
		if len(names.Val()) == 0 {
			return ids, true, nil
		}
		found, there, err := x.fromShelves(ctx, owner, names.Val(), id, most-len(ids))
		if err != nil || !there {
			return nil, false, unavailable("read the index of videos", err)
		}
		ids = append(ids, found...)
		if len(ids) == most || len(names.Val()) < at {
			return ids, true, nil
		}
		from = "(" + names.Val()[at-1]
	}
}

// fromShelves looks into shelves, and then whether the index is complete: it was not wiped before, or it says so.
func (x VideoIndex) fromShelves(ctx context.Context, owner string, names []string, before vault.VideoID, most int) (ids []vault.VideoID, complete bool, err error) {
	limit := "+"
	if before != "" {
		limit = "(" + string(before)
	}
	found := make([]*redis.StringSliceCmd, len(names))
	m, err := x.marked(ctx, func(p redis.Pipeliner) {
		for i, name := range names {
			found[i] = p.ZRevRangeByLex(ctx, ShelfKey(name, owner), &redis.ZRangeBy{Max: limit, Min: "-", Count: int64(most)})
		}
	})
	if err != nil {
		return nil, false, err
	}
	for _, f := range found {
		for _, member := range f.Val() {
			ids = append(ids, vault.VideoID(member))
		}
	}
	return ids[:min(len(ids), most)], m.complete, nil
}

// All returns every video in the index, complete or not, sorted.
func (x VideoIndex) All(ctx context.Context) (ids []vault.VideoID, err error) {
	names, err := x.Client.ZRange(ctx, VideosOfKey(""), 0, -1).Result()
	if err != nil {
		return nil, unavailable("read the index of videos", err)
	}
	for some := range slices.Chunk(names, shelvesAtOnce) {
		found := make([]*redis.StringSliceCmd, len(some))
		_, err := x.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, name := range some {
				found[i] = p.ZRange(ctx, ShelfKey(name, ""), 0, -1)
			}
			return nil
		})
		if err != nil {
			return nil, unavailable("read the index of videos", err)
		}
		for _, f := range found {
			for _, member := range f.Val() {
				ids = append(ids, vault.VideoID(member))
			}
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Count is the right to compare the index with the media store, which one process has at a time. A Redis that was wiped
// has forgotten it, and for another incarnation than the one in which it was given it completes nothing.
type Count struct {
	index       VideoIndex
	token       string
	incarnation string
}

// BeginCount takes that right, if the index is incomplete or has not been compared for an hour, or if again says to do it in
// any case. ok is false if there is no need, or somebody else is at it.
func (x VideoIndex) BeginCount(ctx context.Context, again bool) (c Count, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	m, err := x.marked(ctx, func(redis.Pipeliner) {})
	if err != nil || m.complete && m.checked && !again {
		return c, false, unavailable("look whether the index of videos is complete", err)
	}
	c = Count{x, uuid.NewString(), m.incarnation}
	ok, err = x.Client.SetNX(ctx, countingKey, c.token, countingTTL).Result()
	return c, ok, unavailable("begin to complete the index of videos", err)
}

// keepScript prolongs the right, and endScript gives it back, if it is still this process's.
//
//	KEYS  the right; of endScript also: complete, checked
//	ARGV  its token, milliseconds to live; of endScript: its token, 1 if all is there, seconds until the next comparison,
//	      the incarnation that it was given in
//	→     1 if it was
var (
	keepScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)
	endScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '1' then
  redis.call('SET', KEYS[2], ARGV[4])
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[3])
end
return redis.call('DEL', KEYS[1])`)
)

// errLost says that another process may be at it, or that Redis was wiped meanwhile.
var errLost = vault.Errorf(vault.Unavailable, "redis_changed", "the list of videos is begun anew; try again")

// Keep says that the count goes on. It must be called every few seconds.
func (c Count) Keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	kept, err := keepScript.Run(ctx, c.index.Client, []string{countingKey}, c.token, countingTTL.Milliseconds()).Int()
	if err == nil && kept == 0 {
		return errLost
	}
	return unavailable("go on to complete the index of videos", err)
}

// End gives the right back. all says that the index now holds every video; it is complete from then on, unless Redis was
// wiped or started again in between.
func (c Count) End(ctx context.Context, all bool) error {
	ctx, cancel := aside(ctx)
	defer cancel()
	done := 0
	if all {
		done = 1
	}
	kept, err := endScript.Run(ctx, c.index.Client, []string{countingKey, completeKey, checkedKey}, c.token, done, int(checkEvery/time.Second), c.incarnation).Int()
	if err == nil && kept == 0 {
		return errLost
	}
	return unavailable("complete the index of videos", err)
}

// unavailable makes an error that callers may see of Redis's.
func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	return vault.Errorf(vault.Unavailable, "redis_unavailable", "the list of videos cannot be reached at the moment; try again").
		Because(fmt.Errorf("redisdb: %s: %w", doing, err))
}
