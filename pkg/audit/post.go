package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"pulsevault/pkg/vault"
)

// postTries is how often a write is tried that fails for another reason than that somebody else was faster.
const postTries = 3

// post puts the messages into the chain, as far as they are not there: all of them, or none.
//
// A write succeeds only if the part is as it was read, so nobody's entries are overwritten and no chain forks. Whatever
// goes wrong, the part is read again before anything else is tried: if the write was carried out and its answer lost, the
// messages are found there.
func (b *book) post(ctx context.Context, messages []Message, claims []claim) error {
	for try := 1; ; try++ {
		err := b.attempt(ctx, messages, claims)
		if err == nil {
			return nil
		}
		b.part = nil
		if ctx.Err() != nil || (vault.KindOf(err) != vault.Conflict && try >= postTries) {
			return err
		}
		b.ledger.cfg.Metrics.retried(b.category)
		select {
		case <-time.After(rand.N(time.Duration(min(try, 20)) * 5 * time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

func (b *book) attempt(ctx context.Context, messages []Message, claims []claim) error {
	var kept []Head
	for _, k := range claims {
		kept = append(kept, k.head)
	}
	if b.part == nil {
		found, err := b.takeUp(ctx)
		if err != nil {
			return fmt.Errorf("take up the chain: %w", err)
		}
		kept = append(kept, found...)
	}
	gap, err := b.findGap(ctx, kept)
	if err != nil {
		return err
	}
	if gap != nil {
		messages = append([]Message{*gap}, messages...)
	}
	if err := b.write(ctx, b.missing(messages)); err != nil {
		return err
	}
	if gap != nil {
		b.gaps++
		b.ledger.cfg.Metrics.missed(b.category)
	}
	b.last = b.head
	return nil
}

// missing leaves out what the newest parts hold, and what comes twice.
func (b *book) missing(messages []Message) (fresh []Message) {
	seen := map[string]bool{}
	for _, m := range messages {
		if id := m.EventID; !b.part.ids[id] && !seen[id] && (b.earlier == nil || !b.earlier.ids[id]) {
			seen[id] = true
			fresh = append(fresh, m)
		}
	}
	return fresh
}

// write appends to the part.
func (b *book) write(ctx context.Context, messages []Message) error {
	if len(messages) == 0 {
		return nil
	}
	p, head := b.part, b.head
	size := len(p.data)
	for _, m := range messages {
		size += len(m.Event) + maxFrame
	}
	data := append(make([]byte, 0, size), p.data...)
	for _, m := range messages {
		e := Entry{Seq: head.Seq + 1, EventID: m.EventID, Category: b.category, PrevHash: head.Hash, Event: m.Event}
		data, head.Hash = appendLine(data, &e, m.Time.UTC().Format(timeForm))
		head.Seq++
	}
	name := partName(b.category, p.number)
	head.File, head.End = name, int64(len(data))
	begun := time.Now()
	version, err := b.ledger.cfg.Bucket.Write(ctx, bucketPrefix+name, data, p.version)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	b.ledger.cfg.Metrics.synced(time.Since(begun))
	b.ledger.cfg.Metrics.wrote(b.category, len(messages))
	p.data, p.version, p.head = data, version, head
	for _, m := range messages {
		p.ids[m.EventID] = true
	}
	b.known, b.head = p.number, head
	if p.closed() {
		p.data = nil
		b.earlier, b.part = p, b.newPart(p.number+1)
	}
	return nil
}

// takeUp finds the part that the next entry goes into, and the entry that it follows. It returns heads that must be in the
// chain: this process's own, and when it lists the parts, the one kept in the bucket.
func (b *book) takeUp(ctx context.Context) (kept []Head, err error) {
	if b.last.Seq > 0 {
		kept = append(kept, b.last)
	}
	if b.known > 0 {
		err := b.follow(ctx)
		if !errors.Is(err, errPartGone) {
			return kept, err
		}
	}
	head, found, err := bucketHeads{b.ledger.cfg.Bucket}.Load(ctx, b.category)
	switch {
	case errors.Is(err, errBadHead): // as good as none, and no reason to refuse entries; Verify reports it
		b.ledger.cfg.Logger.Warn("audit: kept head cannot be read", "category", b.category, "err", err)
	case err != nil:
		return nil, err
	case found:
		kept = append(kept, head)
	}
	if b.known, err = b.newest(ctx); err != nil {
		return nil, err
	}
	return kept, b.follow(ctx)
}

// newest returns the number of the newest part that is listed, 0 if there is none.
func (b *book) newest(ctx context.Context) (int, error) {
	keys, err := b.ledger.cfg.Bucket.List(ctx, bucketPrefix+string(b.category)+".")
	if err != nil {
		return 0, fmt.Errorf("list the parts: %w", err)
	}
	for i := len(keys) - 1; i >= 0; i-- {
		if _, number, ok := parsePartName(strings.TrimPrefix(keys[i], bucketPrefix)); ok {
			return number, nil
		}
	}
	return 0, nil
}

// errPartGone is what follow answers when the part it begins with is not there any more.
var errPartGone = errors.New("the newest part is gone")

// follow goes from the known part to the one that is not closed.
func (b *book) follow(ctx context.Context) error {
	b.earlier = nil
	p, err := b.readPart(ctx, max(b.known, 1))
	if err == nil && b.known > 0 && p.version == "" {
		err = errPartGone
	}
	for err == nil && p.closed() {
		b.known, b.earlier = p.number, p
		p, err = b.readPart(ctx, p.number+1)
	}
	if err == nil && b.earlier == nil && p.number > 1 {
		b.earlier, err = b.readPart(ctx, p.number-1)
	}
	if err != nil {
		return err
	}
	if b.earlier != nil {
		b.earlier.data = nil // the eventIds are enough
	}
	b.part = p
	return b.findHead(ctx)
}

// findHead finds the last entry there is. Going on from it where what followed cannot be read, with an entry that says so
// if a kept head was lost, beats refusing service; Verify reports the bad lines for ever.
func (b *book) findHead(ctx context.Context) error {
	b.head = b.part.head
	if b.head.Seq == 0 && b.earlier != nil {
		b.head = b.earlier.head
	}
	for number := b.part.number - 2; b.head.Seq == 0 && number > 0; number-- {
		p, err := b.readPart(ctx, number)
		if err != nil {
			return err
		}
		b.head = p.head
	}
	return nil
}

// findGap looks for the kept heads in the chain, and returns an entry about the furthest one that is not there. Whoever
// finds the same one missing makes the same entry.
func (b *book) findGap(ctx context.Context, kept []Head) (*Message, error) {
	lost, err := furthestLost(kept, func(h Head) (bool, error) { return b.contains(ctx, h) })
	if lost == nil || err != nil {
		return nil, err
	}
	b.ledger.cfg.Logger.Error(entriesMissing, "category", b.category, "expectedSeq", lost.Seq, "foundSeq", b.head.Seq)
	n := gapNote(*lost, b.head)
	event, err := json.Marshal(Event{Action: n.action, Details: n.details})
	if err != nil {
		return nil, err
	}
	id := uuid.NewSHA1(uuid.NameSpaceURL, []byte("pulsevault:"+ActionGap+":"+lost.String())).String()
	return &Message{Category: b.category, EventID: id, Time: b.ledger.cfg.Now(), Event: event}, nil
}

// contains reports whether h is in the chain. It looks at one place only: nothing is ever rewritten, so there it is or
// nowhere.
func (b *book) contains(ctx context.Context, h Head) (bool, error) {
	if h == b.head {
		return true, nil
	}
	_, number, ok := parsePartName(h.File)
	if !ok { // of a log in a directory
		return false, nil
	}
	p := b.part
	if number != p.number {
		var err error
		if p, err = b.readPart(ctx, number); err != nil {
			return false, err
		}
	}
	return p.holds(h, b.category)
}
