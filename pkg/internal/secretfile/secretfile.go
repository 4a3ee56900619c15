// Package secretfile reads files of secrets, one secret a line:
//
//	the one that is used
//	another that is accepted too
//
// The first line is what a process shows or signs by. Those behind it are good for what others show: a secret of before, until
// nothing of it is out any more, or the next one, before anybody uses it. Spaces at the ends of a line, and empty lines, count for
// nothing. A file is changed by renaming another over it, so that nobody reads half of one.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSize is what a file may have, in bytes: it is no file of secrets if it has more.
const maxSize = 16 << 10

// Read returns the secrets of a file, at least one. No error says anything of what is in it.
func Read(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read a file of secrets: %w", err)
	}
	defer func() { _ = f.Close() }() // which was only read
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read a file of secrets: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("%s is no file of secrets: it has more than %d bytes", path, maxSize)
	}
	var secrets []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, line)
		}
	}
	if len(secrets) == 0 {
		return nil, errors.New("no secret stands in " + path)
	}
	return secrets, nil
}
