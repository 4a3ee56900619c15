package app

import (
	"context"
	"errors"
	"time"

	"pulsevault/pkg/metadata"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/videos"
)

func (a *App) wireCollection(context.Context) error {
	cache := redisdb.Cache{Client: a.redis, TTL: cacheTTL, Logger: a.Log}
	a.videos = &metadata.Store{Media: a.media, Cache: cache, Now: time.Now}
	a.collection = &videos.Collection{
		Records: a.videos, Index: redisdb.VideoIndex{Client: a.redis}, Store: a.media.(videos.Store), Audit: a.audit,
		Policy: a.gate.policy, Denials: a.denials, FullAddress: a.config.AuditFullIP, Linger: 2 * presenceLease, Now: time.Now, Log: a.Log,
		Deletion: videos.Deletion{
			Uploads: a.uploaded, Locks: a.locks, MarkedFrom: a.markers.MarkedFrom, Unmark: a.markers.Unmark, EndTasks: a.endAllTasks,
			Uncache: func(ctx context.Context, id vault.VideoID) error {
				return errors.Join(cache.Drop(ctx, id), redisdb.Progress{Client: a.redis, Logger: a.Log}.Drop(ctx, id))
			},
		},
	}
	return nil
}

// endAllTasks ends the tasks of a video that is no longer there. SQS cannot be told: there a task ends when a worker finds
// no marker, and a worker that is at it when it finds no record.
func (a *App) endAllTasks(ctx context.Context, id vault.VideoID) error {
	q, ok := a.queue.(*redisqueue.Queue)
	if !ok {
		return nil
	}
	_, err := endTasks(ctx, q, id)
	return err
}

// sweepCollection goes on with what was left half removed, and completes the list of videos.
func (a *App) sweepCollection(ctx context.Context, s *swept) error {
	removed, removeErr := a.collection.Sweep(ctx)
	listed, listErr := a.collection.Complete(ctx)
	s.Deleted, s.Listed = s.Deleted+removed, s.Listed+listed
	return errors.Join(removeErr, listErr)
}
