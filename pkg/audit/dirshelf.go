package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"pulsevault/pkg/internal/durable"
)

// lockPatience is how long Verify waits for a chain's lock before it looks at the files without it.
const lockPatience = 5 * time.Second

// dirShelf is a log in a directory.
type dirShelf struct{ dir string }

// head takes one that cannot be read for a bad one, for whatever reason.
func (d dirShelf) head(ctx context.Context, c Category) (Head, bool, error) {
	h, found, err := dirHeads(d).Load(ctx, c)
	if err != nil && !errors.Is(err, errBadHead) {
		err = fmt.Errorf("%w: %w", errBadHead, err)
	}
	return h, found, err
}

// files lists the day files while no appender is writing, so that the last line is whole unless a crash cut it.
func (d dirShelf) files(ctx context.Context, v *verifier, c Category) (files []logFile, newest int, err error) {
	unlock := d.share(ctx, v, c)
	defer unlock()
	names, err := dayFiles(d.dir, c)
	if err != nil {
		return nil, 0, err
	}
	for i, name := range names {
		info, err := os.Stat(filepath.Join(d.dir, name))
		if err != nil {
			return nil, 0, err
		}
		if info.Size() > 0 {
			newest = i
		}
		_, date, _ := parseFileName(name)
		files = append(files, logFile{name, date, info.Size()})
	}
	return files, newest, ctx.Err()
}

// open reads no further than the file went when it was listed.
func (d dirShelf) open(_ context.Context, f logFile) (io.ReadCloser, int64, error) {
	r, err := os.Open(filepath.Join(d.dir, f.name))
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errCannotRead, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, f.size), r}, f.size, nil
}

// share takes the chain's lock together with other readers. Where there is no lock file, nobody has ever appended here,
// or this is a copy; nothing is created then.
func (d dirShelf) share(ctx context.Context, v *verifier, category Category) (unlock func()) {
	path := lockPath(d.dir, category)
	if _, err := os.Stat(path); err != nil {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	if ok, err := lock.TryRLockContext(ctx, time.Millisecond); !ok {
		v.note(filepath.Base(path), "could not be locked, so the last line may look torn: %v", err)
		return func() {}
	}
	return func() { _ = lock.Unlock() } // closing the file releases it in any case
}

func (d dirShelf) strangers(_ context.Context, v *verifier) error {
	listing, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range listing {
		name := entry.Name()
		_, _, isDay := parseFileName(name)
		switch {
		case isDay && !entry.Type().IsRegular():
			v.find(name, "has the name of a day's file and is none")
		case isDay, entry.IsDir() && (name == headsDir || name == tornDir || name == checkpointsDir), isLock(name):
		default:
			v.note(name, "is no part of the log")
		}
	}
	return errors.Join(d.strangersIn(v, headsDir, isHeadFile), d.strangersIn(v, tornDir, func(name string) bool {
		return v.aside[tornDir+"/"+name]
	}))
}

func (d dirShelf) strangersIn(v *verifier, sub string, known func(name string) bool) error {
	listing, err := os.ReadDir(filepath.Join(d.dir, sub))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range listing {
		if !known(entry.Name()) {
			v.note(sub+"/"+entry.Name(), "no entry tells of it")
		}
	}
	return nil
}

func isLock(name string) bool {
	stem, ok := strings.CutSuffix(name, ".lock")
	stem = strings.TrimSuffix(stem, ".head")
	return name == checkpointsLock || ok && strings.HasPrefix(stem, ".") && slices.Contains(Categories, Category(stem[1:]))
}

func isHeadFile(name string) bool {
	stem, ok := strings.CutSuffix(name, ".json")
	return ok && slices.Contains(Categories, Category(stem)) || durable.IsTemp(name)
}
