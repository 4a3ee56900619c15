package finalize

import (
	"errors"
	"io"
	"os"

	"github.com/gabriel-vasile/mimetype"
)

// sniffLength is how many bytes from the start of a file tell its type.
const sniffLength = 4096

// sniff tells the media type of a file from its first bytes, whatever its name and whatever the client said.
func sniff(path string) (contentType string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head, err := io.ReadAll(io.LimitReader(f, sniffLength))
	if err != nil {
		return "", err
	}
	return mimetype.Detect(head).String(), nil
}
