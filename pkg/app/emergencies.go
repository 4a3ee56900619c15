package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/stream"
)

// EmergencyLink is a link that was given in an emergency, and what has been done with it.
type EmergencyLink struct {
	EventID   string         `json:"eventId"` // of its entry in the audit log
	Time      time.Time      `json:"time"`
	ExpiresAt time.Time      `json:"expiresAt"`
	UserID    string         `json:"userId"`
	KeyID     string         `json:"keyId,omitempty"`
	Address   string         `json:"ip,omitempty"`
	VideoID   string         `json:"videoId"`
	Path      string         `json:"path"`
	Reason    string         `json:"reason"`
	HadRight  bool           `json:"hadRight"` // the link could have been had without an emergency
	Bind      string         `json:"bind,omitempty"`
	Uses      []EmergencyUse `json:"uses"` // in the order of their time
}

// EmergencyUse is a request that such a link, or one that it leads to, was good for.
type EmergencyUse struct {
	EventID string    `json:"eventId"`
	Time    time.Time `json:"time"`
	Address string    `json:"ip,omitempty"`
	Path    string    `json:"path"`
	Method  string    `json:"method"`
	Range   string    `json:"range,omitempty"`
}

// Emergencies lists the links that were given in an emergency on some days of the audit log, oldest first. An
// error may come with a list of what could be read all the same.
func Emergencies(ctx context.Context, c Config, days audit.Days) ([]EmergencyLink, error) {
	read := days
	if t, err := time.Parse(time.DateOnly, days.To); err == nil {
		read.To = t.AddDate(0, 0, 1).Format(time.DateOnly) // a link of the last minutes is used on the next day
	}
	if !c.InBucket {
		return emergenciesAmong(audit.Entries(ctx, c.AuditDir, read), days)
	}
	bucket, err := c.openBucket(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = bucket.Close() }() // nothing was taken out of it
	return emergenciesAmong(audit.BucketEntries(ctx, bucket, read), days)
}

// isUse stands in every entry of a use, which are few among many.
var isUse = []byte(`"emergency":"`)

func emergenciesAmong(entries iter.Seq2[audit.Entry, error], days audit.Days) ([]EmergencyLink, error) {
	var links []EmergencyLink
	uses := map[string][]EmergencyUse{} // by the eventId of the link
	unread, first := 0, error(nil)
	for e, err := range entries {
		given := e.Category == audit.Emergency && (days.To == "" || e.Time.Format(time.DateOnly) <= days.To)
		var event audit.Event
		if err == nil && (given || e.Category == audit.Access && bytes.Contains(e.Event, isUse)) {
			event, err = e.Decode()
		}
		switch {
		case err != nil:
			unread, first = unread+1, cmp.Or(first, err)
		case given && event.Action == stream.ActionEmergency:
			links = append(links, emergencyLink(e, event))
		case event.Action == stream.ActionAccess:
			id := said(event, "emergency")
			uses[id] = append(uses[id], EmergencyUse{e.EventID, e.Time, event.Address, event.Path, said(event, "method"), said(event, "range")})
		}
	}
	for i := range links {
		links[i].Uses = append([]EmergencyUse{}, uses[links[i].EventID]...)
	}
	if unread > 0 {
		return links, fmt.Errorf("%d times the audit log could not be read, so something may be missing here; pulsevault audit verify tells more: %w", unread, first)
	}
	return links, nil
}

func emergencyLink(e audit.Entry, event audit.Event) EmergencyLink {
	l := EmergencyLink{
		EventID: e.EventID, Time: e.Time, UserID: event.UserID, KeyID: said(event, "keyId"), Address: event.Address, VideoID: event.VideoID,
		Path: event.Path, Reason: said(event, "reason"), Bind: said(event, "bind"),
	}
	l.ExpiresAt, _ = time.Parse(time.RFC3339, said(event, "expiresAt")) // else it stays zero, which says that it is unknown
	l.HadRight, _ = event.Details["hadRight"].(bool)
	return l
}

// said is a text among the details of an event, empty if there is none.
func said(event audit.Event, name string) string {
	text, _ := event.Details[name].(string)
	return text
}
