package media

import (
	"errors"
	"io/fs"
)

func isNotThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
