// Package queue says how tasks get to workers. Package redisqueue does it with asynq on Redis, package sqsqueue with
// Amazon SQS; package queuetest holds the test of what both promise.
//
// A task is queued under its own id, so queueing it twice is harmless. A worker holds a lease on each task it works on and
// renews it; when a worker dies, its tasks are taken over once their leases have run out. A task that fails is tried again
// after growing delays; one that cannot succeed, or has failed too often, goes among the dead letters. So does one whose
// workers died again and again, and one that nobody understands. A worker that stops in order gives its tasks back at
// once, and that counts as nothing.
//
// The payload of a task is its JSON:
//
//	{"type":"transcode","videoId":"01890a5d-ac96-774b-bcce-b302099a8057"}
//	{"type":"piece","videoId":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":1,"piece":7}
//	{"type":"join","videoId":"01890a5d-ac96-774b-bcce-b302099a8057","attempt":1}
//
// A long video is split into pieces, which wait in a queue of their own: a short video goes before them all.
//
// No queue is the truth about what wants work: after one was lost, the sweep queues everything again.
package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"pulsevault/pkg/vault"
)

// Queue is the side of those who want work done. Any number of processes may use the same one at once.
type Queue interface {
	// Enqueue queues a task unless it is already there. When it returns without an error, the queue has the task.
	Enqueue(ctx context.Context, t vault.Task) (Outcome, error)
	// Stats returns how much there is, as far as this kind of queue can tell.
	Stats(ctx context.Context) ([]Stats, error)
}

// Worker is the side of those who do the work.
type Worker interface {
	// Run takes tasks and has h do them until ctx ends; while the queue is away it waits. Then it takes no more, ends the
	// contexts of the handlers with the cause ErrStopping, waits for them, and gives back what they did not finish.
	Run(ctx context.Context, h Handler) error
}

// The queues, in the order in which workers take from them.
const (
	TranscodeQueue = "transcode"
	PiecesQueue    = "pieces"
)

// Of is the queue that a task waits in.
func Of(t vault.Task) string {
	if t.Type == vault.TranscodePiece {
		return PiecesQueue
	}
	return TranscodeQueue
}

// Outcome says what became of a task that was to be queued.
type Outcome string

// The outcomes.
const (
	Queued        Outcome = "queued"         // it was not there and is now
	AlreadyQueued Outcome = "already_queued" // it waits, runs or will be tried again
	Dead          Outcome = "dead"           // it is among the dead letters and stays there
)

// State is where a task stands.
type State string

// The states of a task.
const (
	None     State = "none" // not there: done, or never queued
	Pending  State = "pending"
	Active   State = "active"
	Retry    State = "retry" // failed, will be tried again
	Archived State = "archived"
)

const (
	// MaxTries is how often a task is tried in all.
	MaxTries   = 4
	firstRetry = 10 * time.Second
)

// RetryDelay is how long a task waits that has failed and had been tried again so often before: 10 s, a minute, six minutes,
// and a little at random.
func RetryDelay(tried int) time.Duration {
	d := firstRetry
	for range min(tried, MaxTries-1) {
		d *= 6
	}
	return d + rand.N(d/5)
}

// Encode returns the payload of a task that a worker can know what to do with.
func Encode(t vault.Task) ([]byte, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return json.Marshal(t)
}

// Decode returns the task of a payload. Whoever wrote it may not have been us.
func Decode(payload []byte) (vault.Task, error) {
	var t vault.Task
	if err := json.Unmarshal(payload, &t); err != nil {
		return t, fmt.Errorf("queue: %w", err)
	}
	return t, t.Validate()
}

// Unavailable is the error of a queue that cannot be reached.
func Unavailable(err error) error {
	return vault.Errorf(vault.Unavailable, "queue_unavailable", "work cannot be queued at the moment; try again").
		Because(fmt.Errorf("queue: %w", err))
}
