package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pulsevault/pkg/audit"
)

const (
	// denialsEvery is for how long refusals that are alike are counted and not written again.
	denialsEvery = time.Minute
	// maxDenials is how many that are not alike are written of such a time; all others are counted together.
	maxDenials = 100
)

// denials puts into the audit log who was refused what and why, in the category auth, without letting anybody fill the disk
// with it: at most 201 entries a minute and process. The first of refusals that are alike, which is by address, name and action, is
// written at once. How many more there were in the minute that follows, and why, one entry auth.denials says at its end, for
// that address, name and action; and one without an address says how many there were beyond the first hundred kinds. The reason
// tells no kinds apart: or the time of a refusal would tell whether another's upload is there.
type denials struct {
	log    *slog.Logger
	append func(ctx context.Context, c audit.Category, e audit.Event) error

	mu    sync.Mutex
	kinds map[denialKind]*denialCount // nil between the minutes
	more  int64                       // refusals of further kinds
	timer *time.Timer
}

type denialKind struct{ address, user, action string }

type denialCount struct {
	first audit.Event
	more  map[string]int64 // by reason
}

// Denied records a refusal. It waits for the entry, if one is written; that it cannot be written does not let anybody in.
func (d *denials) Denied(ctx context.Context, e audit.Event) {
	if d.count(e) {
		d.write(ctx, e)
	}
}

// count reports whether a refusal is to be written by itself.
func (d *denials) count(e audit.Event) bool {
	kind := denialKind{e.Address, e.UserID, e.Action}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kinds == nil {
		d.kinds = make(map[denialKind]*denialCount)
		d.timer = time.AfterFunc(denialsEvery, d.Flush)
	}
	if c, ok := d.kinds[kind]; ok {
		c.more[fmt.Sprint(e.Details["reason"])]++
		return false
	}
	if len(d.kinds) >= maxDenials {
		d.more++
		return false
	}
	d.kinds[kind] = &denialCount{first: e, more: map[string]int64{}}
	return true
}

// Flush writes what has been counted, and begins a new minute with the next refusal.
func (d *denials) Flush() {
	d.mu.Lock()
	kinds, more := d.kinds, d.more
	d.kinds, d.more = nil, 0
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	for _, c := range kinds {
		if len(c.more) > 0 {
			d.write(context.Background(), audit.Event{
				Action: "auth.denials", UserID: c.first.UserID, Address: c.first.Address,
				Details: map[string]any{"action": c.first.Action, "more": c.more},
			})
		}
	}
	if more > 0 {
		d.write(context.Background(), audit.Event{Action: "auth.denials", Details: map[string]any{"others": more}})
	}
}

func (d *denials) write(ctx context.Context, e audit.Event) {
	if err := d.append(context.WithoutCancel(ctx), audit.Auth, e); err != nil {
		d.log.ErrorContext(ctx, "a refusal is not in the audit log", "action", e.Action, "reason", e.Details["reason"], "error", err)
	}
}
