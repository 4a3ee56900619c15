package transcode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// hlsVersion is the protocol version that EXT-X-INDEPENDENT-SEGMENTS asks for (RFC 8216, section 7).
const hlsVersion = 6

// encoded is a rendition in the work folder, with its playlist as it will be published.
type encoded struct {
	plan      Rendition
	rate      float64 // frames per second
	frames    int
	dependent int // the most frames from one IDR picture to the next
	playlist  playlist.Media
	variant   playlist.MultivariantVariant
}

// segmentPattern names the segments of a rendition. A name is never used again for other bytes, so every attempt but the
// first has its number in it, as playlists have: see media.PlaylistName.
func segmentPattern(attempt int) func(rendition string) string {
	return func(rendition string) string {
		if attempt > 1 {
			return fmt.Sprintf("%s.g%d_%%03d.ts", rendition, attempt)
		}
		return rendition + "_%03d.ts"
	}
}

// seconds is how long the rendition is shown.
func (e encoded) seconds() (sum float64) {
	for _, s := range e.playlist.Segments {
		sum += s.Duration.Seconds()
	}
	return sum
}

// measure reads the segments that ffmpeg made of a rendition and writes its playlist from what is in them. ffmpeg's own
// playlist only says which there are: its durations have lost to rounding what frames on a grid have exactly.
func measure(work *segments, rate Rational, r Rendition) (encoded, error) {
	data, err := os.ReadFile(filepath.Join(work.folder, r.Name+".m3u8"))
	if err != nil {
		return encoded{}, fmt.Errorf("read playlist of %s: %w", r.Name, err)
	}
	made := segmentNames(data)
	if len(made) == 0 {
		return encoded{}, fmt.Errorf("the playlist of %s names no segment", r.Name)
	}
	vod := playlist.MediaPlaylistTypeVOD
	e := encoded{plan: r, rate: rate.Float(), playlist: playlist.Media{
		Version: hlsVersion, IndependentSegments: true, PlaylistType: &vod, Endlist: true, TargetDuration: 1,
	}}
	var sizes []int64
	var durations []float64
	var codecs []string
	read, err := work.all(made)
	if err != nil {
		return encoded{}, fmt.Errorf("measure %s: %w", r.Name, err)
	}
	for i, name := range made {
		s := read[i]
		if !s.idr {
			return encoded{}, fmt.Errorf("segment %s does not open on an IDR picture", name)
		}
		d := float64(s.frames) / rate.Float()
		e.frames += s.frames
		e.dependent = max(e.dependent, s.dependent)
		sizes, durations = append(sizes, s.size), append(durations, d)
		e.playlist.TargetDuration = max(e.playlist.TargetDuration, int(math.Round(d)))
		e.playlist.Segments = append(e.playlist.Segments, &playlist.MediaSegment{URI: name, Duration: time.Duration(d * float64(time.Second))})
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
		Codecs: codecs, Resolution: fmt.Sprintf("%dx%d", r.Width, r.Height), FrameRate: &shown,
		AverageBandwidth: &average, Bandwidth: peak,
	}
	return e, nil
}

// segmentNames are the URIs of a media playlist of ffmpeg's: the lines that are neither empty nor begin with # (RFC 8216,
// section 4.1). Its target duration is 0 where all segments are shorter than half a second, so that it is no valid one.
func segmentNames(data []byte) (names []string) {
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, line)
		}
	}
	return names
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

// publication is what is to be published next: the files of a folder, and the master playlist that leads to them.
type publication struct {
	folder   string
	variants []*playlist.MultivariantVariant
	master   []byte
	seconds  float64
}

// prepare writes the playlists of renditions into their folder. The master playlist has the variants that are kept in front.
func prepare(work string, made []encoded, kept []*playlist.MultivariantVariant, attempt int) (*publication, error) {
	p := publication{folder: work, variants: slices.Clone(kept), seconds: made[0].seconds()}
	for _, e := range made {
		data, err := e.playlist.Marshal()
		if err != nil {
			return nil, fmt.Errorf("write playlist of %s: %w", e.plan.Name, err)
		}
		if err := os.Remove(filepath.Join(work, e.plan.Name+".m3u8")); err != nil { // ffmpeg's
			return nil, err
		}
		e.variant.URI = media.PlaylistName(e.plan.Name, attempt)
		if err := os.WriteFile(filepath.Join(work, e.variant.URI), data, durable.FileMode); err != nil {
			return nil, err
		}
		p.variants = append(p.variants, &e.variant)
	}
	var err error
	list := playlist.Multivariant{Version: hlsVersion, IndependentSegments: true, Variants: p.variants}
	if p.master, err = list.Marshal(); err != nil {
		return nil, fmt.Errorf("write master playlist: %w", err)
	}
	return &p, nil
}

// sync brings everything in the folder to disk.
func (p *publication) sync() error {
	return eachFile(p.folder, func(name string) error { return syncMade(filepath.Join(p.folder, name)) })
}

// syncMade brings a file that ffmpeg has made to disk.
func syncMade(path string) error {
	if err := os.Chmod(path, durable.FileMode); err != nil { // ffmpeg lets everybody read
		return err
	}
	return durable.SyncFile(path)
}

// errPublished says that another attempt has written a master playlist since we have read it.
var errPublished = errors.New("another attempt has written the master playlist")

// publish moves a publication's files into hls/, and then writes the master playlist over the one that stands: once that
// can be opened, everything that it leads to is there and durable. marks are hit after the two.
func (j *job) publish(ctx context.Context, p *publication, marks [2]string) error {
	files := map[string]string{}
	err := eachFile(p.folder, func(name string) error {
		files[media.HLSKey(j.video.VideoID, name)] = filepath.Join(p.folder, name)
		return nil
	})
	if err != nil {
		return err
	}
	if err := j.Store.Import(ctx, files); err != nil {
		return err
	}
	failpoint.Hit(marks[0])
	master := media.HLSKey(j.video.VideoID, media.MasterPlaylist)
	version, err := j.Store.Write(ctx, master, p.master, j.stands.version)
	if vault.KindOf(err) == vault.Conflict { // which is none of the record
		err = errPublished
	}
	if err != nil {
		return fmt.Errorf("write master playlist: %w", err)
	}
	failpoint.Hit(marks[1])
	before := j.stands
	j.stands = standing{version: version, variants: p.variants, seconds: p.seconds}
	if before.version == media.None {
		j.Metrics.playable(time.Since(j.video.UploadedAt))
	}
	led, err := j.ledTo(ctx, before)
	if err == nil {
		err = j.unpublish(ctx, func(key string) bool { return files[key] == "" && key != master && !led[key] })
	}
	if err != nil {
		j.log.WarnContext(ctx, "left-over of earlier attempts not removed", "error", err)
	}
	return nil
}

// ledTo are the keys that a master playlist has led to. Players have links to them, so they stay; all else that other
// attempts have left is nobody's any more.
func (j *job) ledTo(ctx context.Context, s standing) (map[string]bool, error) {
	led := map[string]bool{}
	for _, v := range s.variants {
		var list playlist.Media
		if err := j.readPlaylist(ctx, v.URI, &list); err != nil {
			return nil, err
		}
		led[media.HLSKey(j.video.VideoID, v.URI)] = true
		for _, seg := range list.Segments {
			led[media.HLSKey(j.video.VideoID, seg.URI)] = true
		}
	}
	return led, nil
}

// unpublish removes those files from hls/ that are unwanted.
func (j *job) unpublish(ctx context.Context, unwanted func(key string) bool) error {
	keys, err := j.Store.List(ctx, media.HLSKey(j.video.VideoID, ""))
	if err != nil {
		return err
	}
	return j.Store.Delete(ctx, slices.DeleteFunc(keys, func(key string) bool { return !unwanted(key) })...)
}

// ours reports whether a key in hls/ has a name that only this attempt gives.
func (j *job) ours(key string) bool {
	generation := 1
	if found := generationForm.FindStringSubmatch(key); found != nil {
		generation, _ = strconv.Atoi(found[1]) // digits
	}
	return generation == j.attempt && path.Base(key) != media.MasterPlaylist
}

var generationForm = regexp.MustCompile(`\.g([0-9]+)(?:\.m3u8|_[0-9]+\.ts)$`)

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
