package transcode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

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

// segments are those of a work folder. Each is read once, as long as it does not change.
type segments struct {
	folder string
	mu     sync.Mutex
	known  map[string]mpegts.Segment // by name
}

func segmentsIn(folder string) *segments {
	return &segments{folder: folder, known: map[string]mpegts.Segment{}}
}

// followEvery is how often follow looks for the next segment. ffmpeg copies hundreds of them in a second at best.
const followEvery = 5 * time.Millisecond

// follow reads the segments that ffmpeg writes, and brings them to disk, while it writes the next, until ctx ends. A segment
// is complete once there is the one after it. What goes wrong shows to whoever asks for the segment.
func (s *segments) follow(ctx context.Context, name func(number int) string) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var disk errgroup.Group
	disk.SetLimit(1) // the processor need not wait for it
	defer func() { _ = disk.Wait() }()
	for number := 0; ; number++ {
		for !s.has(name(number + 1)) {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
		disk.Go(func() error { return syncMade(filepath.Join(s.folder, name(number))) })
		_, _ = s.get(name(number))
	}
}

func (s *segments) has(name string) bool {
	_, err := os.Stat(filepath.Join(s.folder, name))
	return err == nil
}

// all are the segments of these names, as many read at once as there are processors.
func (s *segments) all(names []string) ([]segment, error) {
	list := make([]segment, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		group.Go(func() error {
			read, err := s.get(name)
			list[i] = summary(read)
			return err
		})
	}
	return list, group.Wait()
}

// get reads a segment to its end, or tells what was read before. One that was cut off by a full disk is an error or has too
// few frames.
func (s *segments) get(name string) (mpegts.Segment, error) {
	f, err := os.Open(filepath.Join(s.folder, name))
	if err != nil {
		return mpegts.Segment{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return mpegts.Segment{}, err
	}
	s.mu.Lock()
	read, known := s.known[name]
	s.mu.Unlock()
	if known && read.Size == info.Size() {
		return read, nil
	}
	read, err = mpegts.Read(f)
	if wrong := slices.Concat(read.Faults, read.Breaks); err == nil && len(wrong) > 0 {
		err = errors.New(wrong[0])
	}
	if err != nil {
		return mpegts.Segment{}, fmt.Errorf("read segment: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[name] = read
	return read, nil
}

func summary(read mpegts.Segment) segment {
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
	return s
}
