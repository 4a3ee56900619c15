package upload

import (
	"net/http"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

// admit refuses whoever has nothing to do with an upload, before its lock is asked for: that would have its writer let go. Of
// an upload that is not there, the same is done and said.
func (h *Handler) admit(r *http.Request, id vault.UploadID) error {
	c := auth.From(r.Context())
	if c.Open() {
		return nil
	}
	u, err := h.Store.Get(r.Context(), id)
	there := err == nil
	switch {
	case there && h.Policy.May(c, auth.Upload, u.Owner):
		return nil
	case err != nil && vault.KindOf(err) != vault.NotFound:
		return err
	}
	if h.Denials != nil {
		reason := "not_there"
		if there {
			reason = "not_yours"
		}
		details := map[string]any{"reason": reason, "method": r.Method}
		c.Explain(c.UserID(), details)
		h.Denials.Denied(r.Context(), audit.Event{
			Action: "upload.denied", RequestID: web.RequestID(r), UserID: c.UserID(), Address: web.Client(r), UploadID: string(id), Details: details,
		})
	}
	return errNotFound()
}
