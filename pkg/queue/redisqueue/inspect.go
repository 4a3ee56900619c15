package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hibiken/asynq"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/vault"
)

// pageSize is how many tasks are asked for at once.
const pageSize = 500

// Entry is a task that is in a queue.
type Entry struct {
	ID, Queue string
	Task      vault.Task // the zero Task if nobody understands its payload
	Info
}

// List returns tasks that are in a state, at most so many of each queue: dead ones the latest first, those to be tried again
// in the order of their next tries, and all others in the order in which they are taken. Tasks move while it looks.
func (q *Queue) List(ctx context.Context, state queue.State, most int) (entries []Entry, err error) {
	count := make(map[string]int)
	err = q.each(ctx, state, func(e Entry) (more bool) {
		entries = append(entries, e)
		count[e.Queue]++
		return state == queue.Archived || count[e.Queue] < most // asynq keeps 10,000 dead ones, and has the oldest first
	})
	switch state {
	case queue.Retry:
		slices.SortStableFunc(entries, func(a, b Entry) int { return a.NextAt.Compare(b.NextAt) })
	case queue.Archived:
		slices.SortStableFunc(entries, func(a, b Entry) int { return b.FailedAt.Compare(a.FailedAt) })
	}
	return entries[:min(len(entries), most*len(names()))], err
}

// OfVideo returns all tasks of a video, whatever their state.
func (q *Queue) OfVideo(ctx context.Context, id vault.VideoID) (entries []Entry, err error) {
	for _, state := range []queue.State{queue.Pending, queue.Active, queue.Retry, queue.Archived} {
		err = errors.Join(err, q.each(ctx, state, func(e Entry) bool {
			if e.Task.VideoID == id {
				entries = append(entries, e)
			}
			return true
		}))
	}
	return entries, err
}

// Remove removes a task that nobody works on. It is harmless when the task is gone.
func (q *Queue) Remove(ctx context.Context, e Entry) error {
	return q.change(ctx, "remove", e, q.inspector.DeleteTask)
}

// RunNow lets a task that is to be tried again later wait no longer. It is harmless when the task is gone.
func (q *Queue) RunNow(ctx context.Context, e Entry) error {
	return q.change(ctx, "run", e, q.inspector.RunTask)
}

// Cancel ends the context of the handler that works on a task, wherever that is. The task counts as failed, at once: it
// is to be removed then. A worker that is gone hears nothing.
func (q *Queue) Cancel(ctx context.Context, e Entry) error {
	return q.change(ctx, "cancel", e, func(_, id string) error { return q.inspector.CancelProcessing(id) })
}

func (q *Queue) change(ctx context.Context, what string, e Entry, change func(queue, id string) error) error {
	_, err := within(ctx, func() (struct{}, error) { return struct{}{}, change(e.Queue, e.ID) })
	if err != nil && !errors.Is(err, asynq.ErrTaskNotFound) && !errors.Is(err, asynq.ErrQueueNotFound) {
		return queue.Unavailable(fmt.Errorf("%s %s: %w", what, e.ID, err))
	}
	return nil
}

// each visits the tasks of a state, queue by queue; of a queue until visit returns false.
func (q *Queue) each(ctx context.Context, state queue.State, visit func(Entry) (more bool)) error {
	list := map[queue.State]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
		queue.Pending: q.inspector.ListPendingTasks, queue.Active: q.inspector.ListActiveTasks,
		queue.Retry: q.inspector.ListRetryTasks, queue.Archived: q.inspector.ListArchivedTasks,
	}[state]
	for _, name := range names() {
		for page, more := 1, true; more; page++ {
			tasks, err := within(ctx, func() ([]*asynq.TaskInfo, error) { return list(name, asynq.PageSize(pageSize), asynq.Page(page)) })
			if err != nil && !errors.Is(err, asynq.ErrQueueNotFound) {
				return queue.Unavailable(fmt.Errorf("list %s tasks of %s: %w", state, name, err))
			}
			more = len(tasks) > 0
			for i := 0; more && i < len(tasks); i++ {
				more = visit(entryOf(tasks[i]))
			}
		}
	}
	return nil
}

func entryOf(task *asynq.TaskInfo) Entry {
	t, err := queue.Decode(task.Payload)
	if err != nil {
		t = vault.Task{}
	}
	return Entry{ID: task.ID, Queue: task.Queue, Task: t, Info: infoOf(task)}
}
