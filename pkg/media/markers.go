package media

import (
	"context"
	"fmt"
	"strings"

	"pulsevault/pkg/vault"
)

const pendingPrefix = "pending/"

// Markers are the videos that still want work, each with the upload that it comes from.
type Markers struct{ Store Store }

// Mark leaves the marker of a video. It is durable when Mark returns; marking twice is harmless.
func (m Markers) Mark(ctx context.Context, id vault.VideoID, from vault.UploadID) error {
	_, err := m.Store.Write(ctx, PendingKey(id), []byte(from), Any)
	return err
}

// MarkedFrom returns the upload that a marker names; none if somebody has left an empty one by hand. A video without a
// marker is fs.ErrNotExist.
func (m Markers) MarkedFrom(ctx context.Context, id vault.VideoID) (vault.UploadID, error) {
	data, _, err := m.Store.Read(ctx, PendingKey(id))
	if err != nil || len(data) == 0 {
		return "", err
	}
	from, err := vault.ParseUploadID(string(data))
	if err != nil {
		return "", fmt.Errorf("media: the marker of video %s names no upload: %w", id, err)
	}
	return from, nil
}

// Unmark removes the marker. It is harmless when there is none.
func (m Markers) Unmark(ctx context.Context, id vault.VideoID) error {
	return m.Store.Delete(ctx, PendingKey(id))
}

// Marked returns the videos that want work, oldest first.
func (m Markers) Marked(ctx context.Context) ([]vault.VideoID, error) {
	keys, err := m.Store.List(ctx, pendingPrefix)
	if err != nil {
		return nil, err
	}
	var ids []vault.VideoID
	for _, key := range keys {
		if id, err := vault.ParseVideoID(strings.TrimPrefix(key, pendingPrefix)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
