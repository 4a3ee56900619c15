package upload

import (
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"regexp"
	"strconv"

	"github.com/tus/tusd/v2/pkg/handler"

	"pulsevault/pkg/vault"
)

const pieceType = "application/offset+octet-stream"

// check refuses what tusd would let pass: an id that is none, a number that it reads too kindly, a piece of the wrong type,
// and a first piece that is longer than its upload, for which tusd would create one that nobody hears of. It returns what
// the client says of its piece, if it does.
func (h *Handler) check(r *http.Request, id string) (*Claim, error) {
	if id != "" {
		if _, err := vault.ParseUploadID(id); err != nil {
			return nil, errNotFound()
		}
	}
	length, err := number(r, "Upload-Length", "invalid_upload_length")
	if err != nil {
		return nil, err
	}
	if _, err := number(r, "Upload-Offset", "invalid_offset"); err != nil {
		return nil, err
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	isPiece := err == nil && mediaType == pieceType
	if isPiece {
		r.Header.Set("Content-Type", mediaType) // tusd compares it to the letter
	}
	switch {
	case id != "" && r.Method == http.MethodPatch && !isPiece:
		return nil, vault.Errorf(vault.Unsupported, "invalid_content_type", "a piece must be sent as %s", pieceType)
	case id == "" && isPiece && length >= 0 && r.ContentLength > length:
		return nil, vault.Errorf(vault.TooLarge, "upload_size_exceeded", "the piece is longer than the upload that it begins")
	case !isPiece:
		return nil, nil
	}
	return ParseClaim(r.Header.Values(claimHeader))
}

var digits = regexp.MustCompile(`^[0-9]{1,19}$`)

// number reads a header that holds a non-negative integer, in digits and once; -1 if it is not there.
func number(r *http.Request, header, code string) (int64, error) {
	values := r.Header.Values(header)
	if len(values) == 0 {
		return -1, nil
	}
	if len(values) == 1 && digits.MatchString(values[0]) {
		if n, err := strconv.ParseInt(values[0], 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, vault.Errorf(vault.Invalid, code, "%s must be one whole number, written in digits only", header)
}

// allowed lists the methods of an upload, or of the address where uploads are created. tusd lists GET too.
func allowed(id string) string {
	if id == "" {
		return "OPTIONS, POST"
	}
	return "DELETE, HEAD, OPTIONS, PATCH"
}

// body tells tusd that what it cannot read is the client's fault where it is: broken chunks are no failure of ours. And it
// notes when the client has sent all that it wanted to.
type body struct {
	io.ReadCloser
	exchange *exchange
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.exchange.deadline.end()
	}
	var network net.Error
	switch {
	case err == nil, errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, http.ErrBodyReadAfterClose):
		return n, err
	}
	return n, handler.NewError("ERR_INVALID_BODY", "the body is no valid HTTP; ask for the offset and resume", http.StatusBadRequest)
}
