package transcode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/vault"
)

// workPrefix begins the name of a work folder: .work-{attempt} of the attempt itself, .work-{attempt}-{any} of those who
// make and join its pieces. Whoever works in one holds a lock on it, which the system gives back when the process dies.
const workPrefix = ".work-"

// prepareFolder makes the work folder, and removes those of attempts before.
func (j *job) prepareFolder() error {
	j.removeWork(filepath.Dir(j.folder), func(_ string, attempt int) bool { return attempt < j.attempt })
	if err := os.MkdirAll(filepath.Dir(j.folder), durable.DirMode); err != nil {
		return err
	}
	if err := os.Mkdir(j.folder, durable.DirMode); err != nil {
		return err
	}
	j.lock = lockOf(j.folder)
	if ok, err := j.lock.TryLock(); err != nil || !ok {
		return errors.Join(fmt.Errorf("lock the work folder %s: taken %v", filepath.Base(j.folder), !ok), err)
	}
	return nil
}

func lockOf(folder string) *flock.Flock { return flock.New(folder, flock.SetFlag(os.O_RDONLY)) }

// removeFolder removes the work folder. One that cannot be removed is left to the sweep.
func (j *job) removeFolder() {
	if err := os.RemoveAll(j.folder); err != nil {
		j.log.Warn("work folder not removed", "folder", filepath.Base(j.folder), "error", err)
	}
	if j.lock != nil {
		_ = j.lock.Close()
	}
}

// Clean removes the work folders of a video whose processes have died.
func (t *Transcoder) Clean(id vault.VideoID) (removed int, err error) {
	folder, err := t.Workshop.Scratch(id, workPrefix)
	if err != nil {
		return 0, err
	}
	removed = t.removeWork(filepath.Dir(folder), func(path string, _ int) bool {
		lock := lockOf(path)
		defer func() { _ = lock.Close() }()
		ok, err := lock.TryLock()
		return err == nil && ok
	})
	return removed, nil
}

// removeWork removes the unwanted ones of a video's work folders.
func (t *Transcoder) removeWork(home string, unwanted func(path string, attempt int) bool) (removed int) {
	entries, err := os.ReadDir(home)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Log.Warn("old work folders not removed", "error", err)
		return 0
	}
	for _, e := range entries {
		name, found := strings.CutPrefix(e.Name(), workPrefix)
		number, _, _ := strings.Cut(name, "-")
		attempt, err := strconv.Atoi(number)
		path := filepath.Join(home, e.Name())
		if !found || err != nil || !unwanted(path, attempt) {
			continue
		}
		// Its ffmpeg may still be writing there; then its own worker removes the rest.
		if err := os.RemoveAll(path); err != nil {
			t.Log.Warn("old work folder not removed", "folder", e.Name(), "error", err)
			continue
		}
		removed++
	}
	return removed
}

// tidy removes all that was left of work on a video that is done.
func (t *Transcoder) tidy(ctx context.Context, v vault.Video) error {
	folder, err := t.Workshop.Scratch(v.VideoID, workPrefix)
	if err != nil {
		return err
	}
	t.removeWork(filepath.Dir(folder), func(_ string, attempt int) bool { return attempt <= v.Attempt })
	return t.removeSplits(ctx, v.VideoID, v.Attempt)
}
