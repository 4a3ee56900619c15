// Package backup takes copies of a store that is kept in directories, while servers and workers go on, and brings one back.
//
// A destination is a folder, best on another disk. Each run leaves a snapshot in it, whole and usable by itself:
//
//	20261126T043412.250Z/media/videos/…    the files as they lie below MEDIA_ROOT: videos/ uploads/ pending/ auth/ audit/
//	20261126T043412.250Z/manifest          each file with its size and SHA-256, and what the whole comes to
//	.unfinished-20261126T050000.000Z/      one that is being taken, or was cut off
//	.lock                                  held by the run
//
// A file that an earlier snapshot has is the same file in both (a hard link), so a snapshot costs what is new. The manifest is
// written last, after everything is on disk, and then the folder gets its name: what has no manifest is no snapshot. The next
// run takes from one that was cut off what is whole there.
//
// Nothing is stopped meanwhile. What makes the copy consistent is the order in which it is read, against the order in which
// stages write:
//
//	videos     each under its lock, which whoever changes a video holds: the record, the master playlist, the marker in
//	           pending/ and the names of all files, at one moment. Their bytes are copied after that, for published bytes
//	           never change. A video that is deleted meanwhile is dropped.
//	uploads    the record, and then the bytes up to its offset: they stay as they are. One that has become a video meanwhile
//	           brings its video along. So no record speaks of a video that the snapshot lacks.
//	auth       the hashes of API keys.
//	audit      after all that the log tells of; see audit.Cut.
//	deletions  what pending/deletions/ says last, so that a sweep of the restored store removes what was being removed.
//
// The rest is no part of a store: Redis, which a sweep fills again from the media, work in progress, which is begun again, and
// secrets.
package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Store is the folders of a store, each an area of keys.
type Store struct{ Videos, Uploads, Pending, Auth, Audit string }

// below is the store that a snapshot holds.
func below(folder string) Store {
	at := func(area string) string { return filepath.Join(folder, area) }
	return Store{at("videos"), at("uploads"), at("pending"), at("auth"), at("audit")}
}

func (s Store) areas() map[string]string {
	return map[string]string{"videos": s.Videos, "uploads": s.Uploads, "pending": s.Pending, "auth": s.Auth, "audit": s.Audit}
}

// path is where the bytes of a key are. Whatever leads out of the store is no key.
func (s Store) path(key string) (string, error) {
	area, rest, _ := strings.Cut(key, "/")
	folder, known := s.areas()[area]
	if !known || rest == "" || !filepath.IsLocal(filepath.FromSlash(rest)) {
		return "", fmt.Errorf("backup: %q is no file of a store", key)
	}
	return filepath.Join(folder, filepath.FromSlash(rest)), nil
}

const (
	mediaFolder      = "media"
	manifestName     = "manifest"
	lockName         = ".lock"
	unfinishedPrefix = ".unfinished-"
	nameForm         = "20060102T150405.000Z"
)

var isName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{3}Z$`)

// ErrNone says that there is no snapshot.
var ErrNone = errors.New("there is no finished snapshot")

// Snapshots returns the names of the finished snapshots in a destination, oldest first.
func Snapshots(destination string) (names []string, err error) {
	entries, err := os.ReadDir(destination)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || !isName.MatchString(e.Name()) {
			continue
		}
		if _, err := os.Stat(filepath.Join(destination, e.Name(), manifestName)); err == nil {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Find returns the folder of a snapshot: the one given, or, of a destination, its newest.
func Find(source string) (folder string, err error) {
	if _, err := os.Stat(filepath.Join(source, manifestName)); err == nil {
		return source, nil
	}
	names, err := Snapshots(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s is not there", source)
	case err != nil:
		return "", err
	case strings.HasPrefix(filepath.Base(source), unfinishedPrefix):
		return "", fmt.Errorf("%s was cut off before it was whole: take another snapshot", source)
	case len(names) == 0:
		return "", fmt.Errorf("%w in %s", ErrNone, source)
	}
	return filepath.Join(source, names[len(names)-1]), nil
}
