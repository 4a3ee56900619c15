package transcode

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// encoders are what an ffmpeg must have been built with.
var encoders = []string{"libx264", "aac"}

// tools remembers which ffmpeg was found to be good, so that asking again costs nothing until it is another one.
type tools struct {
	mu   sync.Mutex
	good string
}

// Ready reports whether the programs that transcode are there and can do what they must. The error says what to install.
func (t *Transcoder) Ready(ctx context.Context) error {
	var stamp strings.Builder
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		path, err := exec.LookPath(name)
		if err != nil {
			return fmt.Errorf("install ffmpeg (make deps), which brings ffmpeg and ffprobe: %w", err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
		fmt.Fprintln(&stamp, path, info.Size(), info.ModTime())
	}
	t.tools.mu.Lock()
	defer t.tools.mu.Unlock()
	if stamp.String() == t.tools.good {
		return nil
	}
	list, err := t.runner().output(ctx, "ffmpeg", "-v", "error", "-encoders")
	if err != nil {
		return fmt.Errorf("ask ffmpeg for its encoders: %w", err)
	}
	for _, name := range encoders {
		if !bytes.Contains(list, []byte(" "+name+" ")) {
			return fmt.Errorf("this ffmpeg has no %s encoder: install a full build of ffmpeg", name)
		}
	}
	t.tools.good = stamp.String()
	return nil
}
