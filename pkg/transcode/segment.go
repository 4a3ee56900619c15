package transcode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"pulsevault/pkg/mpegts"
)

// segment is what the bytes of an MPEG-TS segment say, whatever any playlist says.
type segment struct {
	size      int64
	frames    int     // pictures
	dependent int     // the most pictures from one IDR picture to the next, or to the end
	sound     bool    // there is sound in it
	idr       bool    // it opens on an IDR picture, after its parameter sets
	profile   [3]byte // profile, constraints and level of its first sequence parameter set
}

// readSegments reads segments of a folder, as many at once as there are processors.
func readSegments(folder string, names []string) ([]segment, error) {
	list := make([]segment, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		group.Go(func() (err error) {
			list[i], err = readSegment(filepath.Join(folder, name))
			return err
		})
	}
	return list, group.Wait()
}

// readSegment reads a segment to its end. One that was cut off by a full disk is an error or has too few frames.
func readSegment(path string) (segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return segment{}, err
	}
	defer func() { _ = f.Close() }()
	read, err := mpegts.Read(f)
	if wrong := slices.Concat(read.Faults, read.Breaks); err == nil && len(wrong) > 0 {
		err = errors.New(wrong[0])
	}
	if err != nil {
		return segment{}, fmt.Errorf("read segment: %w", err)
	}
	s := segment{size: read.Size, frames: len(read.Pictures), sound: len(read.Sound) > 0, idr: read.OpensIDR}
	run := 0
	for _, p := range read.Pictures {
		if run++; p.IDR {
			run = 1
		}
		s.dependent = max(s.dependent, run)
	}
	if len(read.Sequences) > 0 {
		s.profile = read.Sequences[0].Profile
	}
	return s, nil
}
