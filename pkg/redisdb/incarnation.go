package redisdb

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// marks are what Redis holds beside the index, and of which incarnation that Redis is.
type marks struct {
	complete    bool // every video is in the index, in this incarnation
	checked     bool // that was looked at lately
	incarnation string
}

// marked runs a pipeline and returns the marks of that moment: all commands of a pipeline go to the same Redis. The incarnation
// names what that Redis has in memory. It is another one each time that Redis begins with what it has on disk, which may be a
// snapshot of long ago or lack the last second, and when a replica takes its master's place: the master_replid of INFO
// (https://redis.io/docs/latest/commands/info/). The embedded Redis names none, and need not: it begins with nothing. Nor
// does one that lets nobody ask; there the hourly comparison has to do.
func (x VideoIndex) marked(ctx context.Context, pipeline func(p redis.Pipeliner)) (marks, error) {
	var kept *redis.SliceCmd
	var info *redis.StringCmd
	cmds, err := x.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		pipeline(p)
		kept = p.MGet(ctx, completeKey, checkedKey)
		info = p.Info(ctx, "replication")
		return nil
	})
	var refused redis.Error
	if err != nil && !errors.As(err, &refused) {
		return marks{}, err
	}
	for _, cmd := range cmds {
		if cmd != info && cmd.Err() != nil {
			return marks{}, cmd.Err()
		}
	}
	var m marks
	if info.Err() == nil {
		m.incarnation = parseInfo(info.Val())["master_replid"]
	}
	completeIn, ok := kept.Val()[0].(string)
	m.complete, m.checked = ok && completeIn == m.incarnation, kept.Val()[1] != nil
	return m, nil
}
