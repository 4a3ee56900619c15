package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"pulsevault/pkg/internal/durable"
	"pulsevault/pkg/vault"
)

const videosPrefix = "videos/"

// hidden is where a video's folder goes before it is removed. No key leads there.
func (d *Dir) hidden(id vault.VideoID) string {
	return filepath.Join(d.Videos, ".deleted-"+string(id))
}

// VideoIDs reads the names of the folders.
func (d *Dir) VideoIDs(context.Context) (ids []vault.VideoID, err error) {
	entries, err := os.ReadDir(d.Videos)
	if err != nil {
		return nil, fmt.Errorf("media: list videos: %w", err)
	}
	for _, e := range entries {
		if id, err := vault.ParseVideoID(e.Name()); err == nil && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// HideVideo renames the folder. Where one was hidden before, this is what somebody has begun to make since.
func (d *Dir) HideVideo(ctx context.Context, id vault.VideoID) error {
	unlock, err := d.Lock(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return durable.SyncDir(d.Videos) // the rename of whoever was killed before this
	}
	if err != nil {
		return err
	}
	defer unlock()
	err = os.RemoveAll(d.hidden(id))
	if err == nil {
		err = durable.Rename(filepath.Join(d.Videos, string(id)), d.hidden(id))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // somebody else has hidden it while we waited
		return fmt.Errorf("media: hide video %s: %w", id, err)
	}
	return nil
}

// RemoveVideo removes the folder. It fails while a program still writes there; a later call goes on.
func (d *Dir) RemoveVideo(_ context.Context, id vault.VideoID) error {
	if err := os.RemoveAll(d.hidden(id)); err != nil {
		return fmt.Errorf("media: remove video %s: %w", id, err)
	}
	return durable.SyncDir(d.Videos)
}

// VideoIDs asks for the keys up to the slash behind the id, 1000 at a time.
func (b *Bucket) VideoIDs(ctx context.Context) (ids []vault.VideoID, err error) {
	pages := s3.NewListObjectsV2Paginator(b.Client, &s3.ListObjectsV2Input{
		Bucket: &b.Name, Prefix: aws.String(videosPrefix), Delimiter: aws.String("/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, BucketError("list videos", err)
		}
		for _, folder := range page.CommonPrefixes {
			if id, err := vault.ParseVideoID(path.Base(aws.ToString(folder.Prefix))); err == nil {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// HideVideo deletes the record, without which nothing of a video is served.
func (b *Bucket) HideVideo(ctx context.Context, id vault.VideoID) error {
	return b.Delete(ctx, MetaKey(id))
}

// RemoveVideo deletes every object below the video's prefix. Links to the bucket itself end with the objects. A bucket that
// keeps versions has those for as long as its rules say.
func (b *Bucket) RemoveVideo(ctx context.Context, id vault.VideoID) error {
	pages := s3.NewListObjectsV2Paginator(b.Client, &s3.ListObjectsV2Input{Bucket: &b.Name, Prefix: aws.String(VideoKey(id) + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return BucketError("list video", err)
		}
		var keys []string
		for _, object := range page.Contents {
			keys = append(keys, aws.ToString(object.Key))
		}
		if err := b.Delete(ctx, keys...); err != nil {
			return err
		}
	}
	return nil
}
