package audit

import (
	"context"
	"errors"
	"fmt"
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

// Verify checks everything under dir: every line's form, hash and link, the order of seq and of days, that the heads
// kept in dir and in heads (which may be nil) are in their chains, and that nothing is there that does not belong.
//
// It reads the files as a stream and writes nothing. Others may append meanwhile: what is checked is the log as it stood
// when Verify came to the chain. A directory that is empty or not there has no chains, which is fine unless a head says
// otherwise. The error says that Verify could not do its work (ctx ended, dir cannot be listed), not what it found.
//
// A crash alone is no finding. The end of a chain's last file that has no newline is a note, like the entries that tell
// of torn lines moved aside, and like an empty last file; whether more than an unacknowledged line was lost there, the
// kept heads tell. An audit.gap entry is a finding for ever.
func Verify(ctx context.Context, dir string, heads HeadReader) (Report, error) {
	v := &verifier{dir: dir, heads: heads, aside: map[string]bool{}}
	for _, category := range Categories {
		if err := v.chain(ctx, category); err != nil {
			return v.report, fmt.Errorf("audit: verify %s: %w", category, err)
		}
	}
	if err := v.strangers(); err != nil {
		return v.report, fmt.Errorf("audit: verify: %w", err)
	}
	return v.report, nil
}

type verifier struct {
	dir    string
	heads  HeadReader
	report Report
	aside  map[string]bool // the files in torn/ that entries tell of
}

func (v *verifier) find(place, format string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{place, fmt.Sprintf(format, args...)})
}

func (v *verifier) note(place, format string, args ...any) {
	v.report.Notes = append(v.report.Notes, Finding{place, fmt.Sprintf(format, args...)})
}

// keptHead is a head that must be in its chain.
type keptHead struct {
	place string
	head  Head
	found bool
}

func (v *verifier) chain(ctx context.Context, category Category) error {
	// The heads first: an appender keeps a head after its entry, so these are in whatever the files hold later.
	kept := v.keptHeads(ctx, category)
	files, err := v.snapshot(ctx, category)
	if err != nil {
		return err
	}
	if len(files) == 0 && len(kept) == 0 {
		return nil
	}
	w := &walk{v: v, kept: kept, report: ChainReport{Category: category, Files: len(files)}, linked: true}
	newest := len(files) - 1
	for newest > 0 && files[newest].size == 0 {
		newest--
	}
	for i, f := range files {
		if err := w.file(ctx, f, i >= newest); err != nil {
			return err
		}
	}
	w.conclude()
	return nil
}

func (v *verifier) keptHeads(ctx context.Context, category Category) []keptHead {
	var kept []keptHead
	place := headsDir + "/" + string(category) + ".json"
	h, found, err := dirHeads{v.dir}.Load(ctx, category)
	if err != nil {
		v.find(place, "%v", err)
	} else if found {
		kept = append(kept, keptHead{place: place, head: h})
	}
	if v.heads == nil {
		return kept
	}
	place = "head store: " + string(category)
	h, found, err = v.heads.Load(ctx, category)
	switch {
	case err != nil:
		v.note(place, "could not be asked: %v", err)
	case found && h.validate(category) != nil:
		v.find(place, "%v", errBadHead)
	case found:
		kept = append(kept, keptHead{place: place, head: h})
	}
	return kept
}

// dayFile is a file as long as it was when Verify came to its chain.
type dayFile struct {
	name string
	date string
	size int64
}

// snapshot lists the day files while no appender is writing, so that the last line is whole unless a crash cut it.
func (v *verifier) snapshot(ctx context.Context, category Category) ([]dayFile, error) {
	unlock := v.share(ctx, category)
	defer unlock()
	names, err := dayFiles(v.dir, category)
	if err != nil {
		return nil, err
	}
	var files []dayFile
	for _, name := range names {
		info, err := os.Stat(filepath.Join(v.dir, name))
		if err != nil {
			return nil, err
		}
		_, date, _ := parseFileName(name)
		files = append(files, dayFile{name, date, info.Size()})
	}
	return files, ctx.Err()
}

// share takes the chain's lock together with other readers. Where there is no lock file, nobody has ever appended here,
// or this is a copy; nothing is created then.
func (v *verifier) share(ctx context.Context, category Category) (unlock func()) {
	path := lockPath(v.dir, category)
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

// strangers reports what nobody of this package puts into dir.
func (v *verifier) strangers() error {
	listing, err := os.ReadDir(v.dir)
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
		case isDay, entry.IsDir() && (name == headsDir || name == tornDir), isLock(name):
		default:
			v.note(name, "is no part of the log")
		}
	}
	return errors.Join(v.strangersIn(headsDir, isHeadFile), v.strangersIn(tornDir, func(name string) bool {
		return v.aside[tornDir+"/"+name]
	}))
}

func (v *verifier) strangersIn(sub string, known func(name string) bool) error {
	listing, err := os.ReadDir(filepath.Join(v.dir, sub))
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
	return ok && strings.HasPrefix(stem, ".") && slices.Contains(Categories, Category(stem[1:]))
}

func isHeadFile(name string) bool {
	stem, ok := strings.CutSuffix(name, ".json")
	return ok && slices.Contains(Categories, Category(stem)) || durable.IsTemp(name)
}
