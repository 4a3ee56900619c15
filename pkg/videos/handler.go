package videos

import (
	"context"
	"net/http"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// deleteTimeout bounds a deletion, which goes on when its client has gone.
const deleteTimeout = 20 * time.Second

// ServeList answers GET /videos.
func (c *Collection) ServeList(w http.ResponseWriter, r *http.Request) error {
	q, err := ParseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	page, err := c.List(r.Context(), auth.From(r.Context()), q)
	if err != nil {
		return err
	}
	if err := c.note(r, audit.Event{Action: "videos.listed", Details: map[string]any{"videos": len(page.Videos)}}); err != nil {
		return err
	}
	return answer(w, r, page)
}

// one is a video by itself: with what a page has no room for.
type one struct {
	Entry
	OriginalChecksum  string     `json:"originalChecksum,omitempty"` // lower-case hex SHA-256
	TranscodedAt      *time.Time `json:"transcodedAt,omitempty"`
	TranscodeDuration float64    `json:"transcodeDuration,omitempty"` // seconds
	Metadata          any        `json:"metadata,omitempty"`
}

// ServeOne answers GET /videos/{id}. It asks nobody but the media store.
func (c *Collection) ServeOne(w http.ResponseWriter, r *http.Request) error {
	v, e, err := c.find(r, auth.ReadVideo)
	if err != nil {
		return err
	}
	if err := c.note(r, audit.Event{Action: "video.read", VideoID: string(v.VideoID)}); err != nil {
		return err
	}
	o := one{Entry: e, OriginalChecksum: v.OriginalChecksum, TranscodedAt: v.TranscodedAt, TranscodeDuration: v.TranscodeDuration}
	if len(v.Metadata) > 0 {
		o.Metadata = v.Metadata
	}
	return answer(w, r, o)
}

func answer(w http.ResponseWriter, r *http.Request, v any) error {
	w.Header().Set("Cache-Control", "private, no-store")
	web.JSON(w, r, http.StatusOK, v)
	return nil
}

// ServeDelete answers DELETE /videos/{id}.
func (c *Collection) ServeDelete(w http.ResponseWriter, r *http.Request) error {
	caller := auth.From(r.Context())
	if !c.Policy.MayAny(caller, auth.Delete) {
		c.denied(r, auth.Delete, "role")
		return vault.Errorf(vault.Forbidden, "forbidden", "your roles do not allow that")
	}
	v, _, err := c.find(r, auth.Delete)
	if err != nil {
		if vault.KindOf(err) == vault.NotFound {
			c.linger(time.Now()) // another DELETE may have got so far and no further
		}
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), deleteTimeout)
	defer cancel()
	err = c.Delete(ctx, Intent{
		VideoID: v.VideoID, UploadID: v.UploadID, Owner: v.UserID, By: caller.Name, KeyID: caller.KeyID,
		RequestID: web.RequestID(r), At: c.Now().UTC(), Address: c.address(r),
	})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// address is the part of the client's address that may be kept.
func (c *Collection) address(r *http.Request) string {
	if c.FullAddress {
		return web.Client(r)
	}
	return audit.Anonymise(web.Client(r))
}

// denied records that somebody was refused. What stands for an id in the address anybody may have made up, at any length.
func (c *Collection) denied(r *http.Request, a auth.Action, reason string) {
	if c.Denials == nil {
		return
	}
	caller := auth.From(r.Context())
	e := audit.Event{
		Action: "video.denied", RequestID: web.RequestID(r), UserID: caller.UserID(), Address: web.Client(r),
		Details: map[string]any{"reason": reason, "for": a},
	}
	if id, err := vault.ParseVideoID(r.PathValue("id")); err == nil {
		e.VideoID = string(id)
	}
	caller.Explain(e.UserID, e.Details)
	c.Denials.Denied(r.Context(), e)
}

// note records what somebody has looked at before they see it.
func (c *Collection) note(r *http.Request, e audit.Event) error {
	e.RequestID, e.UserID, e.Address = web.RequestID(r), auth.From(r.Context()).UserID(), web.Client(r)
	if err := c.Audit.Note(r.Context(), audit.Access, e); err != nil {
		return vault.Errorf(vault.Unavailable, "audit_unavailable", "the access cannot be recorded now, so nothing is shown; try again").Because(err)
	}
	return nil
}
