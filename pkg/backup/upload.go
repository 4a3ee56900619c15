package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pulsevault/pkg/vault"
)

// uploads takes every upload that there is, unless it was brought in with its video.
func (t *taker) uploads(ctx context.Context) error {
	entries, err := os.ReadDir(t.Store.Uploads)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, isRecord := strings.CutSuffix(e.Name(), ".json")
		id, err := vault.ParseUploadID(name)
		if err != nil || !isRecord || t.brought[id] {
			continue
		}
		if err := t.upload(ctx, id); err != nil {
			return fmt.Errorf("upload %s: %w", id, err)
		}
	}
	return nil
}

// upload takes an upload: its record and, while it is no video, the bytes up to its offset. They are copied before the record
// is noted, and stay as they are once they count. One that becomes a video meanwhile has its bytes there; what was removed
// meanwhile is left out.
func (t *taker) upload(ctx context.Context, id vault.UploadID) error {
	path := filepath.Join(t.Store.Uploads, string(id))
	for look := 0; ; look++ {
		record, at, err := read(path + ".json")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var u vault.Upload
		if err := json.Unmarshal(record, &u); err != nil || u.UploadID != id {
			t.problem("upload %s: its record is damaged: %v", id, err)
			return t.bring(ctx, recordKey(id), record, at)
		}
		stored, err := t.stored(ctx, u)
		if err != nil {
			return err
		}
		if !stored {
			switch err := t.bytes(ctx, u, path); {
			case errors.Is(err, fs.ErrNotExist) && look < maxLooks: // it has become a video since, or was removed
				time.Sleep(10 * time.Millisecond)
				continue
			case errors.Is(err, fs.ErrNotExist):
				t.problem("upload %s: it has a record that speaks of %d bytes, and no bytes", id, u.Offset)
			case err != nil:
				return err
			}
		}
		return t.bring(ctx, recordKey(id), record, at)
	}
}

// stored reports whether the bytes of an upload are those of a video that is in the snapshot, and takes that if need be; or
// were, of one that was deleted or is about to be.
func (t *taker) stored(ctx context.Context, u vault.Upload) (bool, error) {
	if _, taken := t.taken[u.VideoID]; taken || u.Deleted {
		if taken {
			t.taken[u.VideoID] = u.UploadID // which old records do not tell
		}
		return true, nil
	}
	if u.Finalize == nil {
		return false, nil
	}
	if there, err := exists(filepath.Join(t.Store.Uploads, string(u.UploadID))); err != nil || there {
		return false, err
	}
	if took, err := t.video(ctx, u.VideoID); err != nil || took {
		return took, err
	}
	return exists(filepath.Join(t.Store.Pending, "deletions", string(u.VideoID)))
}

// bytes copies the bytes that count, and holds them against the record.
func (t *taker) bytes(ctx context.Context, u vault.Upload, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < u.Offset {
		t.problem("upload %s: its record says %d bytes, the file has %d", u.UploadID, u.Offset, info.Size())
	}
	f, err := t.copy(ctx, "uploads/"+string(u.UploadID), path, min(info.Size(), u.Offset), info.ModTime())
	if err != nil {
		return err
	}
	want, err := t.Checksum(u)
	if err != nil || want != f.SHA256 {
		t.problem("upload %s: its %d bytes have the SHA-256 %s, its record says %s %v", u.UploadID, u.Offset, f.SHA256, want, err)
	}
	return t.note(f)
}
