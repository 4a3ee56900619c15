package app

import (
	"context"
	"errors"
	"io/fs"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/queue/sqsqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
)

func (a *App) openQueue(ctx context.Context) error {
	c := a.config
	if c.QueueOnSQS {
		q, err := sqsqueue.Open(ctx, sqsqueue.Options{URL: c.SQSQueueURL, PiecesURL: c.SQSPiecesURL, Region: c.AWSRegion, Endpoint: c.SQSEndpoint})
		if err != nil {
			return err
		}
		a.queue = q
		a.worker = sqsqueue.Worker{Queue: q, Concurrency: c.WorkerConcurrency, Abandon: a.abandon, Logger: a.Log}
	} else {
		a.queue = redisqueue.New(a.redis)
		a.worker = redisqueue.Worker{Client: a.redis, Concurrency: c.WorkerConcurrency, Logger: a.Log}
	}
	a.counters = redisdb.Counters{Client: a.redis, Logger: a.Log}
	a.Registry.MustRegister(queue.NewCollector(a.queue, a.Log), totals{a.counters, a.open, a.Log})
	return nil
}

func (a *App) enqueue(ctx context.Context, t vault.Task) error {
	_, err := a.queue.Enqueue(ctx, t)
	return err
}

// RunWorker works on queued tasks until ctx ends; then tasks that were running are back in the queue. It returns at once
// where no work is configured.
func (a *App) RunWorker(ctx context.Context) error { return a.RunTasks(ctx, a.Perform) }

// RunTasks is RunWorker with somebody else to carry the tasks out.
func (a *App) RunTasks(ctx context.Context, perform queue.Handler) error {
	if !a.config.works() {
		return nil
	}
	return a.worker.Run(ctx, perform)
}

// Perform carries out one task. final says that there will be no further attempt. A video without a marker wants nothing
// more: its task came twice, which SQS does not rule out.
func (a *App) Perform(ctx context.Context, t vault.Task, final bool) error {
	if !a.wanted(ctx, t) {
		return nil
	}
	running := a.running.WithLabelValues(string(t.Type))
	running.Inc()
	defer running.Dec()
	switch t.Type {
	case vault.TranscodePiece:
		return a.transcoder.Piece(ctx, t, final)
	case vault.JoinPieces:
		return a.transcoder.Join(ctx, t, final)
	case vault.TranscodeVideo:
	}
	return a.transcoder.Transcode(ctx, t.VideoID, final)
}

// abandon records that a task is not tried again, if nobody has.
func (a *App) abandon(ctx context.Context, t vault.Task) error {
	if !a.wanted(ctx, t) {
		return nil
	}
	err := a.transcoder.GiveUp(ctx, t, triedTooOften)
	if vault.KindOf(err) == vault.NotFound { // somebody has removed the video
		return nil
	}
	return err
}

// triedTooOften is the reason for people why a video failed whose workers could not say one.
const triedTooOften = "the workers that tried stopped unexpectedly, again and again"

func (a *App) wanted(ctx context.Context, t vault.Task) bool {
	_, err := a.markers.MarkedFrom(ctx, t.VideoID)
	return !errors.Is(err, fs.ErrNotExist)
}
