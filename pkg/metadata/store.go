package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// ErrDamaged is a record that was read and cannot be understood, or is not the video's.
var ErrDamaged = errors.New("the record is damaged")

// Media is what the records are kept in: a media.Store.
type Media interface {
	Read(ctx context.Context, key string) (data []byte, version string, err error)
	Stamp(ctx context.Context, key string) (version string, err error)
	Write(ctx context.Context, key string, data []byte, ifVersion string) (version string, err error)
	Lock(ctx context.Context, id vault.VideoID) (unlock func(), err error)
}

// Cache remembers what Public answered, for all processes. It may lose anything at any time.
type Cache interface {
	Get(ctx context.Context, id vault.VideoID) ([]byte, bool)
	Put(ctx context.Context, id vault.VideoID, data []byte)
	Drop(ctx context.Context, id vault.VideoID) error
}

// Store keeps the records of all videos. Any number of goroutines and processes may use the same files.
type Store struct {
	Media Media
	Cache Cache
	Now   func() time.Time
}

// Create writes the first record of a video whose original is there, and returns it. When there is a record already it
// stays as it is and is returned. The record is durable when Create returns.
func (s *Store) Create(ctx context.Context, v vault.Video) (vault.Video, error) {
	unlock, err := s.Media.Lock(ctx, v.VideoID)
	if err != nil {
		return vault.Video{}, fmt.Errorf("create record of video %s: %w", v.VideoID, err)
	}
	defer unlock()
	old, err := s.Get(ctx, v.VideoID)
	if vault.KindOf(err) != vault.NotFound || err == nil {
		return old, err
	}
	v.Status, v.Attempt, v.Version = vault.Uploaded, 0, Version
	v.UpdatedAt = s.stamp()
	err = s.write(ctx, v, media.None)
	if vault.KindOf(err) == vault.Conflict { // in a bucket somebody can come between
		return s.Get(ctx, v.VideoID)
	}
	return v, err
}

// Get returns the record of a video, a NotFound error if there is none.
func (s *Store) Get(ctx context.Context, id vault.VideoID) (vault.Video, error) {
	v, _, err := s.read(ctx, id)
	return v, err
}

func (s *Store) read(ctx context.Context, id vault.VideoID) (v vault.Video, version string, err error) {
	data, version, err := s.Media.Read(ctx, media.MetaKey(id))
	if errors.Is(err, fs.ErrNotExist) {
		return vault.Video{}, "", vault.NoVideo()
	}
	if err != nil {
		return vault.Video{}, "", fmt.Errorf("read record of video %s: %w", id, err)
	}
	v, err = Unmarshal(data)
	if err == nil && v.VideoID != id {
		err = fmt.Errorf("metadata: the record is that of video %s", v.VideoID)
	}
	if err != nil {
		return vault.Video{}, "", fmt.Errorf("read record of video %s: %w: %w", id, ErrDamaged, err)
	}
	return v, version, nil
}

// maxTries is how often Update tries to get in between the changes that others make.
const maxTries = 10

// Update changes the record of a video: change gets the current one and edits it. In a directory it holds the lock on the
// video's folder meanwhile, so change may also move files that belong with the new state. If change fails, or moves the
// status where it may not go, nothing is written. If somebody else changes the record meanwhile, as can happen in a bucket
// and on a network file system that ignores locks, nothing is written either, and change gets the new one. The new record
// is durable when Update returns it.
func (s *Store) Update(ctx context.Context, id vault.VideoID, change func(*vault.Video) error) (v vault.Video, err error) {
	unlock, err := s.Media.Lock(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return vault.Video{}, vault.NoVideo()
	}
	if err != nil {
		return vault.Video{}, fmt.Errorf("change record of video %s: %w", id, err)
	}
	defer unlock()
	for range maxTries {
		v, err = s.update(ctx, id, change)
		if err == nil || vault.KindOf(err) != vault.Conflict {
			break
		}
		time.Sleep(rand.N(20 * time.Millisecond)) // the others too
	}
	return v, err
}

func (s *Store) update(ctx context.Context, id vault.VideoID, change func(*vault.Video) error) (vault.Video, error) {
	old, version, err := s.read(ctx, id)
	if err != nil {
		return vault.Video{}, err
	}
	v := old
	if err := change(&v); err != nil {
		return vault.Video{}, err
	}
	if v.Status != old.Status && !old.Status.CanBecome(v.Status) {
		return vault.Video{}, fmt.Errorf("video %s cannot go from %s to %s", id, old.Status, v.Status)
	}
	v.VideoID, v.Version, v.UpdatedAt = id, Version, s.stamp()
	return v, s.write(ctx, v, version)
}

func (s *Store) write(ctx context.Context, v vault.Video, ifVersion string) error {
	data, err := Marshal(v)
	if err != nil {
		return err
	}
	if _, err := s.Media.Write(ctx, media.MetaKey(v.VideoID), data, ifVersion); err != nil {
		return fmt.Errorf("write record of video %s: %w", v.VideoID, err)
	}
	// A stale entry is harmless, Public compares stamps; dropping it makes room. So failing to is no error.
	_ = s.Cache.Drop(ctx, v.VideoID)
	return nil
}

// stamp is the current time at the precision that records are kept in.
func (s *Store) stamp() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// public is the part of a record that whoever may watch the video may read.
type public struct {
	VideoID           vault.VideoID   `json:"videoId"`
	Filename          string          `json:"filename"`
	ContentType       string          `json:"contentType"`
	OriginalSize      int64           `json:"originalSize"`
	OriginalChecksum  string          `json:"originalChecksum"`
	UploadedAt        time.Time       `json:"uploadedAt"`
	UpdatedAt         time.Time       `json:"updatedAt"`
	Status            vault.Status    `json:"status"`
	TranscodedAt      *time.Time      `json:"transcodedAt,omitempty"`
	TranscodeDuration float64         `json:"transcodeDuration,omitempty"`
	Duration          float64         `json:"duration,omitempty"`
	Width             int             `json:"width,omitempty"`
	Height            int             `json:"height,omitempty"`
	Renditions        []string        `json:"renditions,omitempty"`
	TranscodeError    string          `json:"transcodeError,omitempty"`
	Metadata          json.RawMessage `json:"metadata,omitempty"`
}

// cached is what the cache holds: the public part and the stamp of the file that it was read from.
type cached struct {
	Stamp  string          `json:"stamp"`
	Public json.RawMessage `json:"public"`
}

// Public returns, as compact JSON, the part of a video's record that whoever may watch it may read. It is never stale: a
// cached answer counts only while the file is still the one that it came from.
func (s *Store) Public(ctx context.Context, id vault.VideoID) ([]byte, error) {
	stamp, err := s.Media.Stamp(ctx, media.MetaKey(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, vault.NoVideo()
	}
	if err != nil {
		return nil, fmt.Errorf("read record of video %s: %w", id, err)
	}
	if data, ok := s.Cache.Get(ctx, id); ok {
		var c cached
		if json.Unmarshal(data, &c) == nil && c.Stamp == stamp {
			return c.Public, nil
		}
	}
	v, err := s.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := encode(public{
		VideoID: v.VideoID, Filename: v.Filename, ContentType: v.ContentType, OriginalSize: v.OriginalSize,
		OriginalChecksum: v.OriginalChecksum, UploadedAt: v.UploadedAt, UpdatedAt: v.UpdatedAt, Status: v.Status,
		TranscodedAt: v.TranscodedAt, TranscodeDuration: v.TranscodeDuration, Duration: v.Duration, Width: v.Width,
		Height: v.Height, Renditions: v.Renditions, TranscodeError: v.TranscodeError, Metadata: v.Metadata,
	})
	if err != nil {
		return nil, err
	}
	// If the file changed since its stamp was taken, the entry carries the older stamp and will not be believed.
	if entry, err := encode(cached{Stamp: stamp, Public: p}); err == nil {
		s.Cache.Put(ctx, id, entry)
	}
	return p, nil
}
