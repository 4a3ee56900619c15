package transcode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

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

// measure reads what ffmpeg made of a rendition and rewrites its playlist.
func (t *Transcoder) measure(ctx context.Context, work string, s Source, r Rendition) (encoded, error) {
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
		Version: hlsVersion, IndependentSegments: true, PlaylistType: &vod, Endlist: true,
	}}
	var bits, seconds, peak float64
	for _, seg := range made.Segments {
		info, err := os.Stat(filepath.Join(work, seg.URI))
		if err != nil {
			return encoded{}, fmt.Errorf("measure %s: %w", r.Name, err)
		}
		d := seg.Duration.Seconds()
		bits += float64(info.Size()) * 8
		seconds += d
		// A very short last segment says nothing about the rate that a player needs.
		peak = max(peak, float64(info.Size())*8/max(d, 1))
		e.playlist.TargetDuration = max(e.playlist.TargetDuration, int(math.Round(d)), 1)
		e.playlist.Segments = append(e.playlist.Segments, &playlist.MediaSegment{URI: seg.URI, Duration: seg.Duration})
	}
	codecs, err := t.codecs(ctx, filepath.Join(work, made.Segments[0].URI), s.Audio >= 0)
	if err != nil {
		return encoded{}, fmt.Errorf("measure %s: %w", r.Name, err)
	}
	average, rate := int(math.Ceil(bits/max(seconds, 0.001))), math.Round(s.FrameRate.Float()*1000)/1000
	e.variant = playlist.MultivariantVariant{
		URI: r.Name + ".m3u8", Codecs: codecs, Resolution: fmt.Sprintf("%dx%d", r.Width, r.Height), FrameRate: &rate,
		AverageBandwidth: &average, Bandwidth: max(int(math.Ceil(peak)), average),
	}
	return e, nil
}

// codecs reads the CODECS of a segment (RFC 6381) from its first sequence parameter set.
func (t *Transcoder) codecs(ctx context.Context, segment string, sound bool) ([]string, error) {
	stream, err := t.runner().output(ctx, "ffmpeg", "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-f", "mpegts",
		"-i", "file:"+segment, "-map", "0:v:0", "-c", "copy", "-frames:v", "1", "-f", "h264", "pipe:1")
	if err != nil {
		return nil, err
	}
	i := bytes.Index(stream, []byte{0, 0, 1, 0x67})
	if i < 0 || len(stream) < i+7 {
		return nil, errors.New("the segment has no sequence parameter set")
	}
	codecs := []string{fmt.Sprintf("avc1.%x", stream[i+4:i+7])}
	if sound {
		codecs = append(codecs, "mp4a.40.2")
	}
	return codecs, nil
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
	return eachFile(work, func(name string) error { return durable.SyncFile(filepath.Join(work, name)) })
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
		return os.Rename(filepath.Join(work, name), filepath.Join(hls, name))
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

// published returns the renditions, highest first, that the master playlist in hls leads to; none if there is no master.
func published(hls string) (names []string, err error) {
	data, err := os.ReadFile(filepath.Join(hls, media.MasterPlaylist))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var master playlist.Multivariant
	if err := master.Unmarshal(data); err != nil {
		return nil, fmt.Errorf("read master playlist: %w", err)
	}
	for i := len(master.Variants) - 1; i >= 0; i-- {
		names = append(names, strings.TrimSuffix(master.Variants[i].URI, ".m3u8"))
	}
	return names, nil
}
