// Package videos shows the stored videos as a collection, and removes them.
//
// The records in the media store are the truth. An index, which Redis may lose, knows their order; it is compared with the
// store, and completed from it, when it is missing and once an hour. A page is read from the records that it shows.
//
// A video is removed in this order:
//
//	pending/deletions/{videoId}    who wants it removed, and which upload it comes from
//	the audit entry
//	the record, in a directory the whole folder, taken away      a Lease later at most every link is dead
//	the marker that it wants work, and its tasks
//	its bytes
//	what the upload's record tells of it: that says from here on that the video was deleted
//	what the cache and the index hold
//	pending/deletions/{videoId}    says when that was done, and is removed an hour later
//
// Doing it again after a crash does what is left to do; the sweep does. It does all of it once more at the end of that hour,
// for what somebody who was paused in the middle of writing has written since. Only the audit entry may then stand twice,
// under one eventId.
package videos

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/vault"
)

// Records keeps the records of videos: *metadata.Store.
type Records interface {
	Get(ctx context.Context, id vault.VideoID) (vault.Video, error)
}

// Index knows the order of all videos: redisdb.VideoIndex, whose comments are the contract.
type Index interface {
	Add(ctx context.Context, videos ...redisdb.Owned) error
	Remove(ctx context.Context, ids ...vault.VideoID) error
	Before(ctx context.Context, owner string, id vault.VideoID, most int) (ids []vault.VideoID, complete bool, err error)
	Census
}

// Census is the side of an index from which it is completed.
type Census interface {
	All(ctx context.Context) ([]vault.VideoID, error)
	BeginCount(ctx context.Context, again bool) (c redisdb.Count, ok bool, err error)
}

// Store is where videos are: a media.Store that is an Archive too.
type Store interface {
	media.Store
	media.Archive
}

// Auditor keeps the record of what happened. What Append has taken is on disk; what Note has taken is so soon after.
type Auditor interface {
	Append(ctx context.Context, c audit.Category, e audit.Event) error
	Note(ctx context.Context, c audit.Category, e audit.Event) error
}

// Denials keeps the record of who was refused what, in the category auth, and no more of it than the log can bear.
type Denials interface {
	Denied(ctx context.Context, e audit.Event)
}

// Collection is all videos. Any number of processes may have the same one.
type Collection struct {
	Records  Records
	Index    Index
	Store    Store
	Policy   auth.Policy
	Audit    Auditor
	Denials  Denials // nil records none
	Deletion Deletion
	// FullAddress keeps whole client addresses with what is to be removed, as AUDIT_IP=full does in the audit log.
	FullAddress bool
	// Linger is how long DELETE waits, once it has found that a video is gone or seen to it, before it says so: for longer
	// than the Lease of any stream.Streamer.
	Linger time.Duration
	Now    func() time.Time
	Log    *slog.Logger

	missed  missed
	tooMany atomic.Int64 // until when, in Unix seconds, requests do not complete the index
}

// Enlist puts a video that has a record into the index. If it cannot, the next sweep of this process puts that right, or
// that of any other within an hour.
func (c *Collection) Enlist(ctx context.Context, v vault.Video) {
	if err := c.Index.Add(ctx, redisdb.Owned{ID: v.VideoID, Owner: v.UserID}); err != nil {
		c.missed.note()
		c.Log.WarnContext(ctx, "a video is not listed yet; the sweep will", "videoId", v.VideoID, "error", err)
	}
}

// Entry is a video as a page shows it.
type Entry struct {
	VideoID        vault.VideoID `json:"videoId"`
	Filename       string        `json:"filename,omitempty"`
	UserID         string        `json:"userId,omitempty"`
	ContentType    string        `json:"contentType,omitempty"`
	OriginalSize   int64         `json:"originalSize,omitempty"` // bytes
	UploadedAt     time.Time     `json:"uploadedAt"`
	UpdatedAt      time.Time     `json:"updatedAt,omitzero"`
	Status         vault.Status  `json:"status,omitempty"`
	Duration       float64       `json:"duration,omitempty"` // seconds
	Width          int           `json:"width,omitempty"`
	Height         int           `json:"height,omitempty"`
	Renditions     []string      `json:"renditions,omitempty"`
	TranscodeError string        `json:"transcodeError,omitempty"`
	// Damaged says that the record cannot be read, so that no more is known.
	Damaged bool `json:"damaged,omitempty"`
}

func entryOf(v vault.Video) Entry {
	return Entry{
		VideoID: v.VideoID, Filename: v.Filename, UserID: v.UserID, ContentType: v.ContentType, OriginalSize: v.OriginalSize,
		UploadedAt: v.UploadedAt, UpdatedAt: v.UpdatedAt, Status: v.Status, Duration: v.Duration, Width: v.Width, Height: v.Height,
		Renditions: v.Renditions, TranscodeError: v.TranscodeError,
	}
}

// look reads the record of a video. One that is there and cannot be understood is an entry that says so, and nobody's.
func (c *Collection) look(ctx context.Context, id vault.VideoID) (v vault.Video, e Entry, err error) {
	v, err = c.Records.Get(ctx, id)
	switch {
	case err == nil:
		return v, entryOf(v), nil
	case !errors.Is(err, metadata.ErrDamaged):
		return v, e, err
	}
	c.Log.WarnContext(ctx, "the record of a video cannot be read", "videoId", id, "error", err)
	return vault.Video{VideoID: id}, Entry{VideoID: id, UploadedAt: id.Time().UTC(), Damaged: true}, nil
}

// find returns the video that a request names, if the caller may do something to it. One that is not there and one that is
// not the caller's are the same error.
func (c *Collection) find(r *http.Request, a auth.Action) (vault.Video, Entry, error) {
	id, err := vault.ParseVideoID(r.PathValue("id"))
	if err != nil {
		return vault.Video{}, Entry{}, vault.NoVideo()
	}
	v, e, err := c.look(r.Context(), id)
	var reason string
	switch {
	case vault.KindOf(err) == vault.NotFound && err != nil:
		reason = "not_there"
	case err == nil && !c.Policy.May(auth.From(r.Context()), a, v.UserID):
		reason = "not_yours"
	default:
		return v, e, err
	}
	c.denied(r, a, reason)
	return vault.Video{}, Entry{}, vault.NoVideo()
}
