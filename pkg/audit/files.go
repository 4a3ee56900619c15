package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// What lies in the directory beside the day files.
const (
	headsDir = "heads"
	tornDir  = "torn"
	logExt   = ".log"

	checkpointsDir  = "checkpoints"
	checkpointsLock = ".checkpoints.lock"
)

func fileName(c Category, date string) string { return string(c) + "-" + date + logExt }

func lockPath(dir string, c Category) string { return filepath.Join(dir, "."+string(c)+".lock") }

func headLockPath(dir string, c Category) string {
	return filepath.Join(dir, "."+string(c)+".head.lock")
}

func headPath(dir string, c Category) string { return filepath.Join(dir, headsDir, string(c)+".json") }

// parseFileName takes the name of a day file apart.
func parseFileName(name string) (c Category, date string, ok bool) {
	stem, isLog := strings.CutSuffix(name, logExt)
	category, date, cut := strings.Cut(stem, "-")
	if !isLog || !cut || !slices.Contains(Categories, Category(category)) {
		return "", "", false
	}
	t, err := time.Parse(dateForm, date)
	if err != nil || t.Format(dateForm) != date {
		return "", "", false
	}
	return Category(category), date, true
}

// dayFiles lists the names of a category's day files, oldest first.
func dayFiles(dir string, category Category) ([]string, error) {
	listing, err := os.ReadDir(dir) // sorted by name, so by date
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, entry := range listing {
		if c, _, ok := parseFileName(entry.Name()); ok && c == category && entry.Type().IsRegular() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
