package transcode

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
)

// hlsVersion is the protocol version that EXT-X-INDEPENDENT-SEGMENTS asks for (RFC 8216, section 7).
const hlsVersion = 6

// encoded is a rendition in the work folder, with its playlist as it will be published.
type encoded struct {
	plan     Rendition
	frames   int
	playlist playlist.Media
	variant  playlist.MultivariantVariant
}

// segmentPattern names the segments of a rendition. A name is never used again for other bytes, so every attempt but the
// first has its number in it.
func segmentPattern(attempt int) func(rendition string) string {
	return func(rendition string) string {
		if attempt > 1 {
			return fmt.Sprintf("%s.g%d_%%03d.ts", rendition, attempt)
		}
		return rendition + "_%03d.ts"
	}
}

// measure reads the segments that ffmpeg made of a rendition and writes its playlist from what is in them. ffmpeg's own
// playlist only says which there are: its durations have lost to rounding what frames on a grid have exactly.
func measure(work string, rate Rational, r Rendition) (encoded, error) {
	data, err := os.ReadFile(filepath.Join(work, r.Name+".m3u8"))
	if err != nil {
		return encoded{}, fmt.Errorf("read playlist of %s: %w", r.Name, err)
	}
	var made playlist.Media
	if err := made.Unmarshal(data); err != nil {
		return encoded{}, fmt.Errorf("read playlist of %s: %w", r.Name, err)
	}
	vod := playlist.MediaPlaylistTypeVOD
	e := encoded{plan: r, playlist: playlist.Media{
		Version: hlsVersion, IndependentSegments: true, PlaylistType: &vod, Endlist: true, TargetDuration: 1,
	}}
	var sizes []int64
	var durations []float64
	var codecs []string
	for _, m := range made.Segments {
		s, err := readSegment(filepath.Join(work, m.URI))
		if err != nil {
			return encoded{}, fmt.Errorf("measure %s: %w", r.Name, err)
		}
		if !s.idr {
			return encoded{}, fmt.Errorf("segment %s does not open on an IDR picture", m.URI)
		}
		d := float64(s.frames) / rate.Float()
		e.frames += s.frames
		sizes, durations = append(sizes, s.size), append(durations, d)
		e.playlist.TargetDuration = max(e.playlist.TargetDuration, int(math.Round(d)))
		e.playlist.Segments = append(e.playlist.Segments, &playlist.MediaSegment{URI: m.URI, Duration: time.Duration(d * float64(time.Second))})
		if codecs == nil {
			codecs = []string{fmt.Sprintf("avc1.%x", s.profile)} // RFC 6381
		}
		if s.sound && len(codecs) == 1 {
			codecs = append(codecs, "mp4a.40.2")
		}
	}
	average, peak := bandwidth(sizes, durations, e.playlist.TargetDuration)
	shown := math.Round(rate.Float()*1000) / 1000
	e.variant = playlist.MultivariantVariant{
		URI: r.Name + ".m3u8", Codecs: codecs, Resolution: fmt.Sprintf("%dx%d", r.Width, r.Height), FrameRate: &shown,
		AverageBandwidth: &average, Bandwidth: peak,
	}
	return e, nil
}

// bandwidth returns AVERAGE-BANDWIDTH and BANDWIDTH, bits per second, as RFC 8216 (section 4.1) defines them: the peak is
// that of any run of segments between a half and one and a half times as long as the target duration. So a last segment
// of one frame says nothing.
func bandwidth(sizes []int64, durations []float64, target int) (average, peak int) {
	var bits, seconds, highest float64
	for i := range sizes {
		var runBits, run float64
		for j := i; j < len(sizes); j++ {
			runBits, run = runBits+8*float64(sizes[j]), run+durations[j]
			if run > 1.5*float64(target) {
				break
			}
			if run >= 0.5*float64(target) {
				highest = max(highest, runBits/run)
			}
		}
		bits, seconds = bits+8*float64(sizes[i]), seconds+durations[i]
	}
	average = int(math.Ceil(bits / max(seconds, 0.001)))
	return average, max(int(math.Ceil(highest)), average)
}

// prepare writes the playlists into the work folder and brings everything in it to disk.
func prepare(work string, renditions []encoded) error {
	master := playlist.Multivariant{Version: hlsVersion, IndependentSegments: true}
	for _, e := range renditions {
		data, err := e.playlist.Marshal()
		if err != nil {
			return fmt.Errorf("write playlist of %s: %w", e.plan.Name, err)
		}
		if err := os.WriteFile(filepath.Join(work, e.variant.URI), data, durable.FileMode); err != nil {
			return err
		}
		master.Variants = append(master.Variants, &e.variant)
	}
	data, err := master.Marshal()
	if err != nil {
		return fmt.Errorf("write master playlist: %w", err)
	}
	if err := os.WriteFile(filepath.Join(work, media.MasterPlaylist), data, durable.FileMode); err != nil {
		return err
	}
	return eachFile(work, func(name string) error {
		path := filepath.Join(work, name)
		if err := os.Chmod(path, durable.FileMode); err != nil { // ffmpeg lets everybody read
			return err
		}
		return durable.SyncFile(path)
	})
}

// publish moves the work folder's files into hls, the master playlist last: once that can be opened, everything that it
// leads to is there and on disk.
func publish(work, hls string) error {
	if err := os.RemoveAll(hls); err != nil { // what a crashed attempt left; no master playlist led there
		return err
	}
	if err := durable.Mkdir(hls, durable.DirMode); err != nil {
		return err
	}
	err := eachFile(work, func(name string) error {
		if name == media.MasterPlaylist {
			return nil
		}
		return os.Rename(filepath.Join(work, name), filepath.Join(hls, name)) // synced by prepare; the folder is below
	})
	if err != nil {
		return err
	}
	if err := durable.SyncDir(hls); err != nil {
		return err
	}
	failpoint.Hit("transcode/segments")
	if err := durable.Rename(filepath.Join(work, media.MasterPlaylist), filepath.Join(hls, media.MasterPlaylist)); err != nil {
		return err
	}
	failpoint.Hit("transcode/master")
	return os.Remove(work)
}

func eachFile(dir string, do func(name string) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := do(e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// published returns the renditions, highest first, that the master playlist in hls leads to, and their duration in
// seconds; none if there is no master.
func published(hls string) (names []string, seconds float64, err error) {
	data, err := os.ReadFile(filepath.Join(hls, media.MasterPlaylist))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var master playlist.Multivariant
	if err := master.Unmarshal(data); err != nil {
		return nil, 0, fmt.Errorf("read master playlist: %w", err)
	}
	for i := len(master.Variants) - 1; i >= 0; i-- {
		names = append(names, strings.TrimSuffix(master.Variants[i].URI, ".m3u8"))
	}
	if data, err = os.ReadFile(filepath.Join(hls, master.Variants[0].URI)); err != nil {
		return nil, 0, err
	}
	var first playlist.Media
	if err := first.Unmarshal(data); err != nil {
		return nil, 0, fmt.Errorf("read playlist of %s: %w", names[len(names)-1], err)
	}
	for _, s := range first.Segments {
		seconds += s.Duration.Seconds()
	}
	return names, seconds, nil
}
