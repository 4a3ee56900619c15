package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"pulsevault/pkg/vault"
)

// bornTogether is how far apart the times in the two ids of one upload can be, with much to spare: they are made in a row.
const bornTogether = time.Second

// Origin looks through the file names of the directory.
func (d *Dir) Origin(ctx context.Context, id vault.VideoID) (vault.UploadID, error) {
	f, err := os.Open(d.Path)
	if err != nil {
		return "", fmt.Errorf("find the upload of video %s: %w", id, err)
	}
	names, err := f.Readdirnames(-1)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("find the upload of video %s: %w", id, err)
	}
	return origin(ctx, d.Get, names, id)
}

// Origin has S3 list no more than the keys that begin as the video's id, or one a little older, does: of a minute or two.
func (b *Bucket) Origin(ctx context.Context, id vault.VideoID) (vault.UploadID, error) {
	const minute = 8 // digits of the 12 that count milliseconds
	before := fmt.Sprintf("%012x", id.Time().Add(-bornTogether).UnixMilli())[:minute]
	var names []string
	for _, begin := range []string{before, string(id[:minute])} {
		keys, err := b.Media.List(ctx, recordPrefix+begin)
		if err != nil {
			return "", fmt.Errorf("find the upload of video %s: %w", id, err)
		}
		for _, key := range keys {
			names = append(names, strings.TrimPrefix(key, recordPrefix))
		}
		if before == string(id[:minute]) {
			break
		}
	}
	return origin(ctx, b.Get, names, id)
}

// origin reads the records of the uploads that were made when the video's id was. One that cannot be understood is not it.
func origin(ctx context.Context, get func(context.Context, vault.UploadID) (vault.Upload, error), names []string, video vault.VideoID) (vault.UploadID, error) {
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, recordSuffix)
	}
	for _, id := range uploadIDs(names) {
		if apart := video.Time().Sub(id.Time()).Abs(); apart > bornTogether {
			continue
		}
		u, err := get(ctx, id)
		if err == nil && u.VideoID == video {
			return id, nil
		}
		if err != nil && (vault.KindOf(err) == vault.Unavailable || ctx.Err() != nil) {
			return "", err
		}
	}
	return "", nil
}
