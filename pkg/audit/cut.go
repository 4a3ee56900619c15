package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pulsevault/pkg/internal/durable"
)

// Extent is a file of a log, or the part of it that belongs to a cut.
type Extent struct {
	Name     string    // below the log's directory, with slashes
	Size     int64     // how many of its bytes belong to the cut
	Modified time.Time // of the file
	Data     []byte    // of a head, which is replaced as a whole; nil of everything else, whose bytes stay as they are
}

// Cut returns what a copy of the log in dir is to hold, to be the log as it stood at one moment, while others go on appending:
// such a copy verifies as the log itself does, with its key too. The bytes of the files may be read at any time afterwards,
// since what is written in a log stays.
//
// The heads are read first, because a kept head is never ahead of its chain. Then the lock under which checkpoints are made is
// held while the checkpoints are listed and the chains are measured: so every chain reaches as far as the checkpoints say, and
// no entry names a checkpoint that is not among them. A line that is being written, or that a crash has torn, is left out. A
// dir that is not there has no log.
func Cut(ctx context.Context, dir string) (cut []Extent, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, c := range Categories {
		data, err := os.ReadFile(headPath(dir, c))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("audit: cut: %w", err)
		}
		cut = append(cut, Extent{Name: headsDir + "/" + string(c) + ".json", Size: int64(len(data)), Modified: time.Now(), Data: data})
	}
	n := dirNotary{dirShelf: dirShelf{dir}}
	err = n.exclusive(ctx, func() error {
		found, err := list(dir, checkpointsDir, func(name string) bool {
			_, ok := parseCheckpointName(name)
			return ok
		})
		cut = append(cut, found...)
		for i := 0; i < len(Categories) && err == nil; i++ {
			found, err = n.extents(ctx, Categories[i])
			cut = append(cut, found...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("audit: cut: %w", err)
	}
	// After the chains: what an entry says was moved aside is there before the entry.
	torn, err := list(dir, tornDir, func(name string) bool { return !durable.IsTemp(name) })
	if err != nil {
		return nil, fmt.Errorf("audit: cut: %w", err)
	}
	return append(cut, torn...), nil
}

// extents measures the files of a chain, the last one up to its last whole line. What is empty after that is left out.
func (d dirShelf) extents(ctx context.Context, c Category) (found []Extent, err error) {
	files, newest, err := d.files(ctx, &verifier{}, c)
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if i > newest || f.size == 0 && i == newest {
			break
		}
		e, err := d.extent(f, i == newest)
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	return found, nil
}

func (d dirShelf) extent(f logFile, last bool) (e Extent, err error) {
	file, err := os.Open(filepath.Join(d.dir, f.name))
	if err != nil {
		return e, err
	}
	info, err := file.Stat()
	if err == nil {
		e = Extent{Name: f.name, Size: f.size, Modified: info.ModTime()}
		if last {
			e.Size, err = afterNewline(file, f.size)
		}
	}
	return e, errors.Join(err, file.Close())
}

// list returns the files of a folder below dir that have a known name.
func list(dir, sub string, known func(name string) bool) (found []Extent, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, sub))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !known(entry.Name()) {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		found = append(found, Extent{Name: sub + "/" + entry.Name(), Size: info.Size(), Modified: info.ModTime()})
	}
	return found, err
}
