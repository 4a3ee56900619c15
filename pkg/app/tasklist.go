package app

import (
	"context"
	"time"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
)

// TaskList is what there is in the queues, for operators and their scripts.
type TaskList struct {
	Queues []QueueCounts `json:"queues"`
	// Tasks are running, waiting, to be tried again, and dead ones, in this order. Of each state there are only so many.
	Tasks []TaskEntry `json:"tasks"`
	// Listed is false if this kind of queue cannot tell which tasks it holds, but only how many.
	Listed bool `json:"listed"`
}

// QueueCounts say how many tasks there are in a queue. What this kind of queue cannot tell is left out.
type QueueCounts struct {
	Queue    string `json:"queue"`
	Running  *int   `json:"running,omitempty"`
	Waiting  *int   `json:"waiting,omitempty"`
	Retrying *int   `json:"retrying,omitempty"`
	Dead     *int   `json:"dead,omitempty"`
}

// TaskEntry is one task.
type TaskEntry struct {
	State     string         `json:"state"` // running, waiting, retrying or dead
	ID        string         `json:"id"`
	Queue     string         `json:"queue"`
	Type      vault.TaskType `json:"type,omitempty"` // this and what follows of a task that is understood
	VideoID   vault.VideoID  `json:"videoId,omitempty"`
	Filename  string         `json:"filename,omitempty"` // as the client named it
	Attempt   int            `json:"attempt,omitempty"`
	Piece     int            `json:"piece,omitempty"`
	Tries     int            `json:"tries"` // begun so far
	MaxTries  int            `json:"maxTries"`
	Progress  *float64       `json:"progress,omitempty"` // of the video, 0…1; of running tasks, where it is known
	LastError string         `json:"lastError,omitempty"`
	FailedAt  time.Time      `json:"failedAt,omitzero"`
	NextTry   time.Time      `json:"nextTry,omitzero"`
	Orphaned  bool           `json:"orphaned,omitempty"` // its worker is gone; another one takes it over
}

// states are those of the list, in its order.
var states = []struct {
	of   queue.State
	name string
}{{queue.Active, "running"}, {queue.Pending, "waiting"}, {queue.Retry, "retrying"}, {queue.Archived, "dead"}}

// Tasks lists what is queued, of each queue and state at most so many.
func (a *App) Tasks(ctx context.Context, most int) (TaskList, error) {
	list := TaskList{Tasks: []TaskEntry{}}
	all, err := a.queue.Stats(ctx)
	if err != nil {
		return list, err
	}
	for _, s := range all {
		list.Queues = append(list.Queues, QueueCounts{s.Queue, known(s.Active), known(s.Pending), known(s.Retry), known(s.Archived)})
	}
	q, ok := a.queue.(*redisqueue.Queue)
	if !ok {
		return list, nil
	}
	list.Listed = true
	names := make(map[vault.VideoID]string)
	for _, state := range states {
		entries, err := q.List(ctx, state.of, most)
		if err != nil {
			return list, err
		}
		for _, e := range entries {
			list.Tasks = append(list.Tasks, a.describe(ctx, e, state.name, names))
		}
	}
	return list, nil
}

func known(n int) *int {
	if n == queue.Unknown {
		return nil
	}
	return &n
}

// describe tells what is known about a task. names are the names of files that were looked up before.
func (a *App) describe(ctx context.Context, e redisqueue.Entry, state string, names map[vault.VideoID]string) TaskEntry {
	t := TaskEntry{
		State: state, ID: e.ID, Queue: e.Queue, Type: e.Task.Type, VideoID: e.Task.VideoID, Attempt: e.Task.Attempt, Piece: e.Task.Piece,
		Tries: e.Retried, MaxTries: e.MaxRetry + 1, LastError: e.LastError, FailedAt: e.FailedAt, Orphaned: e.Orphaned,
	}
	switch e.State {
	case queue.Active:
		t.Tries++
		if done, ok := (redisdb.Progress{Client: a.redis, Logger: a.Log}).Progress(ctx, t.VideoID); ok {
			t.Progress = &done
		}
	case queue.Archived: // asynq counts how often it was tried again
		t.Tries++
	case queue.Retry:
		t.NextTry = e.NextAt
	case queue.Pending, queue.None:
	}
	if t.VideoID == "" {
		return t
	}
	name, ok := names[t.VideoID]
	if !ok {
		v, _ := a.videos.Get(ctx, t.VideoID) // which may be gone
		name = v.Filename
		names[t.VideoID] = name
	}
	t.Filename = name
	return t
}
