package videos

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
)

const (
	defaultLimit = 50
	maxLimit     = 100
	maxText      = 255 // characters
	// mostLooks is how many records a page looks at, whatever few of them a filter lets through.
	mostLooks = 1000
	// leastLooks is how many it looks at together where a filter may want few of them.
	leastLooks = 50
	// looksAtOnce is how many of them it reads side by side.
	looksAtOnce = 8
)

// Query says which videos a page shows.
type Query struct {
	Before vault.VideoID // the newest video that comes before this one is the first; none begins with the newest of all
	Limit  int           // 1 to 100
	Status vault.Status  // any, if empty
	Text   string        // that the name of the file contains, whatever the case; in lower case
}

// Page is some videos, newest first.
type Page struct {
	Videos []Entry `json:"videos"`
	Next   *string `json:"next"` // cursor of the page that follows, null if nothing does
}

// A cursor is the id of the last video that its page has looked at: 16 bytes in base64url without padding (RFC 4648,
// section 5). So it stands between two videos, whatever comes and goes on either side of it.
func cursorOf(id vault.VideoID) string {
	u := uuid.MustParse(string(id))
	return base64.RawURLEncoding.EncodeToString(u[:])
}

func parseCursor(s string) (vault.VideoID, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	u, sizeErr := uuid.FromBytes(data)
	if err != nil || sizeErr != nil || cursorOf(vault.VideoID(u.String())) != s { // the decoder skips line ends
		return "", vault.Errorf(vault.Invalid, "invalid_cursor", "cursor must be what next was on the page before")
	}
	return vault.VideoID(u.String()), nil
}

var statuses = []vault.Status{vault.Uploaded, vault.Transcoding, vault.Transcoded, vault.TranscodeFailed}

// ParseQuery reads the query of a request's URL. What is not known, or stands twice, is refused: a filter that is not
// understood must not pass for one that lets everything through.
func ParseQuery(raw string) (Query, error) {
	q := Query{Limit: defaultLimit}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, vault.Errorf(vault.Invalid, "invalid_query", "the query of this address cannot be read")
	}
	for name, given := range values {
		if len(given) > 1 {
			return q, vault.Errorf(vault.Invalid, "invalid_query", "%s stands twice in the query", name)
		}
		if err := q.set(name, given[0]); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (q *Query) set(name, value string) (err error) {
	switch name {
	case "cursor":
		q.Before, err = parseCursor(value)
	case "limit":
		q.Limit, err = strconv.Atoi(value)
		if err != nil || q.Limit < 1 || q.Limit > maxLimit || strconv.Itoa(q.Limit) != value {
			err = vault.Errorf(vault.Invalid, "invalid_limit", "limit must be a whole number from 1 to %d", maxLimit)
		}
	case "status":
		if q.Status = vault.Status(value); !slices.Contains(statuses, q.Status) {
			err = vault.Errorf(vault.Invalid, "invalid_status", "status must be uploaded, transcoding, transcoded or transcode_failed")
		}
	case "filename":
		if q.Text = strings.ToLower(value); value == "" || !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxText {
			err = vault.Errorf(vault.Invalid, "invalid_filename", "filename must be text of 1 to %d characters", maxText)
		}
	default:
		err = vault.Errorf(vault.Invalid, "unknown_parameter", "a list of videos takes cursor, limit, status and filename")
	}
	return err
}

func (q Query) lets(e Entry) bool {
	return (q.Status == "" || e.Status == q.Status) && (q.Text == "" || strings.Contains(strings.ToLower(e.Filename), q.Text))
}

// List returns a page of the videos that the caller may know of. With a filter it may hold fewer videos than its limit, even
// none, and have others follow it: it has then looked at as many as one page may. An index that is incomplete, or cannot be
// asked, is an Unavailable error.
func (c *Collection) List(ctx context.Context, caller auth.Caller, q Query) (Page, error) {
	page := Page{Videos: []Entry{}}
	owner := ""
	if !c.Policy.MayAll(caller, auth.ListVideos) {
		if owner = caller.Name; owner == "" || !c.Policy.MayAny(caller, auth.ListVideos) {
			return page, vault.NoVideo()
		}
	}
	step := q.Limit
	if q.Status != "" || q.Text != "" { // most of what is looked at may not be wanted
		step = max(step, leastLooks)
	}
	for at, looked := q.Before, 0; ; {
		ids, err := c.before(ctx, owner, at, step+1) // one more, which tells whether anything follows
		if err != nil {
			return page, err
		}
		more := len(ids) > step
		ids = ids[:min(len(ids), step)]
		entries, err := c.lookAll(ctx, ids)
		if err != nil {
			return page, err
		}
		for i, e := range entries {
			at = ids[i]
			// What came to another owner's hands, or is gone, is not shown, whatever the index says.
			if e == nil || !q.lets(*e) || owner != "" && e.UserID != owner && !e.Damaged {
				continue
			}
			if page.Videos = append(page.Videos, *e); len(page.Videos) == q.Limit {
				more = more || i < len(ids)-1
				break
			}
		}
		looked += len(ids)
		if !more {
			return page, nil
		}
		if len(page.Videos) == q.Limit || looked >= mostLooks {
			next := cursorOf(at)
			page.Next = &next
			return page, nil
		}
	}
}

// before asks the index. One that is incomplete is completed first, which of few videos takes no time.
func (c *Collection) before(ctx context.Context, owner string, id vault.VideoID, most int) ([]vault.VideoID, error) {
	ids, complete, err := c.Index.Before(ctx, owner, id, most)
	if err != nil || complete {
		return ids, err
	}
	if err := c.completeSoon(ctx); err != nil {
		return nil, err
	}
	ids, complete, err = c.Index.Before(ctx, owner, id, most)
	if err == nil && !complete {
		err = errCounting()
	}
	return ids, err
}

func errCounting() *vault.Error {
	return vault.Errorf(vault.Unavailable, "list_incomplete", "the list of videos is being made anew from the videos themselves; try again")
}

// lookAll reads the records of some videos. Of what is gone there is nil, and the index forgets it.
func (c *Collection) lookAll(ctx context.Context, ids []vault.VideoID) ([]*Entry, error) {
	entries := make([]*Entry, len(ids))
	readers, readCtx := errgroup.WithContext(ctx)
	readers.SetLimit(looksAtOnce)
	for i, id := range ids {
		readers.Go(func() error {
			_, e, err := c.look(readCtx, id)
			if vault.KindOf(err) == vault.NotFound {
				return nil
			}
			entries[i] = &e
			return err
		})
	}
	if err := readers.Wait(); err != nil {
		return nil, err
	}
	var gone []vault.VideoID
	for i, e := range entries {
		if e == nil {
			gone = append(gone, ids[i])
		}
	}
	if err := c.Index.Remove(ctx, gone...); err != nil {
		c.Log.WarnContext(ctx, "videos that are gone are still in the index", "error", err)
	}
	return entries, nil
}
