package app

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/media"
	"pulsevault/pkg/upload"
)

// openStorage opens the directories, or the bucket and the directories for what only this machine needs.
func (a *App) openStorage(ctx context.Context) error {
	c := a.config
	dirs := []string{c.MediaRoot, c.UploadDir}
	if !c.InBucket {
		if err := c.wholeStore(); err != nil {
			return err
		}
		dirs = append(dirs, c.VideoDir, c.pendingDir(), c.AuditDir, c.authDir())
	}
	for _, dir := range dirs {
		if err := durable.Mkdir(dir, durable.DirMode); err != nil {
			return fmt.Errorf("the media directories cannot be made; is MEDIA_ROOT %s writable? %w", c.MediaRoot, err)
		}
	}
	if c.InBucket {
		return a.openBucket(ctx)
	}
	dir := &media.Dir{Videos: c.VideoDir, Pending: c.pendingDir(), Auth: c.authDir()}
	a.media, a.markers = dir, media.Markers{Store: dir}
	a.uploaded = &upload.Dir{Path: c.UploadDir, Media: dir, Expiry: c.UploadExpiry, Now: time.Now, Log: a.Log}
	return sameFileSystem(c.UploadDir, c.VideoDir)
}

func (a *App) openBucket(ctx context.Context) error {
	c := a.config
	bucket, err := c.openBucket(ctx)
	if err != nil {
		return err
	}
	a.media, a.markers = bucket, media.Markers{Store: bucket}
	a.uploaded = &upload.Bucket{Media: bucket, Expiry: c.UploadExpiry, Now: time.Now, Log: a.Log}
	return nil
}

func (c Config) openBucket(ctx context.Context) (*media.Bucket, error) {
	return media.OpenBucket(ctx, media.BucketOptions{
		Bucket: c.S3Bucket, Region: c.S3Region, Endpoint: c.S3Endpoint, PublicEndpoint: c.S3PublicEndpoint,
		Scratch: filepath.Join(c.MediaRoot, "scratch"),
	})
}

// pendingDir is where markers are, in a directory.
func (c Config) pendingDir() string { return filepath.Join(c.MediaRoot, "pending") }

// deletionsDir is where it says which videos are to be removed, in a directory.
func (c Config) deletionsDir() string { return filepath.Join(c.pendingDir(), "deletions") }

// authDir is where API keys are, in a directory.
func (c Config) authDir() string { return filepath.Join(c.MediaRoot, "auth") }

// checkStorage reports whether everything can be stored.
func (a *App) checkStorage(ctx context.Context) error {
	c := a.config
	if b, ok := a.media.(*media.Bucket); ok {
		return b.Check(ctx)
	}
	return probeDirs(c.UploadDir, c.VideoDir, c.pendingDir())
}
