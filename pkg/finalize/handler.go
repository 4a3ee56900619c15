package finalize

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

type body struct {
	UploadID string          `json:"uploadId"`
	Filename string          `json:"filename"`
	UserID   string          `json:"userId"`
	Checksum string          `json:"checksum"`
	Metadata json.RawMessage `json:"metadata"`
}

type answer struct {
	VideoID     vault.VideoID `json:"videoId"`
	Status      vault.Status  `json:"status"`
	Size        int64         `json:"size"`
	Checksum    string        `json:"checksum"`
	Transcoding string        `json:"transcoding"`
}

// ServeFinalize answers POST /uploads/finalize.
func (f *Finalizer) ServeFinalize(w http.ResponseWriter, r *http.Request) error {
	var b body
	if err := web.DecodeJSON(w, r, &b); err != nil {
		return err
	}
	req, err := b.parse()
	if err != nil {
		return err
	}
	req.Caller, err = f.Policy.Named(auth.From(r.Context()), req.UserID)
	req.Address, req.RequestID = web.Client(r), web.RequestID(r)
	if err != nil {
		f.denied(r.Context(), req, "not_your_name")
		return err
	}
	req.UserID = req.Caller.For
	u, err := f.Finalize(r.Context(), req)
	if err != nil {
		return err
	}
	a := answer{VideoID: u.VideoID, Status: vault.Uploaded, Size: u.Size, Checksum: u.Finalize.Checksum, Transcoding: "queued"}
	if !f.Transcode {
		a.Transcoding = "disabled"
	}
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, r, http.StatusOK, a)
	return nil
}

var checksumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (b body) parse() (Request, error) {
	id, err := vault.ParseUploadID(b.UploadID)
	if err != nil {
		return Request{}, err
	}
	req := Request{UploadID: id, Filename: b.Filename, UserID: b.UserID, Checksum: b.Checksum}
	if !printable(b.Filename, 1, 255) {
		return req, vault.Errorf(vault.Invalid, "invalid_filename", "filename must have 1 to 255 characters and no control characters")
	}
	if !printable(b.UserID, 0, 128) {
		return req, vault.Errorf(vault.Invalid, "invalid_user_id", "userId may have at most 128 characters and no control characters")
	}
	if b.Checksum != "" && !checksumForm.MatchString(b.Checksum) {
		return req, vault.Errorf(vault.Invalid, "invalid_checksum", "checksum must be a SHA-256 in 64 lower-case hex digits")
	}
	if len(b.Metadata) > 0 && string(b.Metadata) != "null" {
		req.Metadata, err = metadata.Object(b.Metadata)
		if err != nil {
			return req, vault.Errorf(vault.Invalid, "invalid_metadata", "metadata must be a JSON object")
		}
	}
	return req, nil
}

func printable(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return n >= least && n <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
