package videos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/google/uuid"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// settled is how long a removed video is remembered, to be removed once more after that: longer than anybody who was paused
// in the middle of writing for it goes on.
const settled = time.Hour

// Uploads keeps the records of uploads.
type Uploads interface {
	Get(ctx context.Context, id vault.UploadID) (vault.Upload, error)
	Save(ctx context.Context, u *vault.Upload) error
	// Origin finds the upload that a video comes from; "" if there is none.
	Origin(ctx context.Context, id vault.VideoID) (vault.UploadID, error)
}

// Locks keeps everyone else out of an upload.
type Locks interface {
	Hold(ctx context.Context, id vault.UploadID) (release func(), err error)
}

// Deletion is what removing a video needs of others.
type Deletion struct {
	Uploads Uploads
	Locks   Locks
	// MarkedFrom returns the upload that a video which still wants work comes from, and Unmark takes its marker away.
	MarkedFrom func(ctx context.Context, id vault.VideoID) (vault.UploadID, error)
	Unmark     func(ctx context.Context, id vault.VideoID) error
	// EndTasks removes the tasks of a video from the queue, and tells workers to stop.
	EndTasks func(ctx context.Context, id vault.VideoID) error
	// Uncache forgets what is cached of a video.
	Uncache func(ctx context.Context, id vault.VideoID) error
}

// Intent is what says that a video is to be removed.
type Intent struct {
	VideoID   vault.VideoID  `json:"videoId"`
	UploadID  vault.UploadID `json:"uploadId,omitempty"` // that the video comes from, if that is known
	Owner     string         `json:"owner,omitempty"`
	By        string         `json:"by,omitempty"` // who wants it removed
	KeyID     string         `json:"keyId,omitempty"`
	RequestID string         `json:"requestId,omitempty"`
	Address   string         `json:"ip,omitempty"` // from which it was asked, as whole as the audit log keeps it
	At        time.Time      `json:"at"`
	GoneAt    time.Time      `json:"goneAt,omitzero"` // when all of it had been removed

	version string
}

// Delete removes a video. When it returns, every link to the video is dead, and the sweep does whatever could not be done
// yet. Whoever comes first is who has removed it.
func (c *Collection) Delete(ctx context.Context, in Intent) error {
	in, err := c.intend(ctx, in)
	if err != nil {
		return fmt.Errorf("delete video %s: %w", in.VideoID, err)
	}
	failpoint.Hit("delete/intended")
	if err := c.hide(ctx, in); err != nil {
		return fmt.Errorf("delete video %s: %w", in.VideoID, err)
	}
	hidden := time.Now()
	if err := c.clear(ctx, in); err != nil {
		c.Log.WarnContext(ctx, "a deleted video is not removed yet; the sweep goes on", "videoId", in.VideoID, "error", err)
	}
	c.linger(hidden)
	return nil
}

// linger waits until nobody goes any more by having seen a video that was gone at a time.
func (c *Collection) linger(gone time.Time) { time.Sleep(time.Until(gone.Add(c.Linger))) }

// Gone reports whether somebody has begun to remove a video. If so, what a finalize that was still under way has left of it is
// taken away again.
func (c *Collection) Gone(ctx context.Context, id vault.VideoID) (bool, error) {
	_, err := c.Store.Stamp(ctx, media.DeletionKey(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = errors.Join(c.Store.HideVideo(ctx, id), c.Deletion.Unmark(ctx, id), c.Store.RemoveVideo(ctx, id))
	}
	return true, err
}

// Stands reports whether a video that had a record still has one. It asks nobody but the media store.
func (c *Collection) Stands(ctx context.Context, id vault.VideoID) (bool, error) {
	_, err := c.Store.Stamp(ctx, media.MetaKey(id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// intend leaves the intent, or returns the one that is there. In a directory the video's lock makes one of two the first.
func (c *Collection) intend(ctx context.Context, in Intent) (Intent, error) {
	unlock, err := c.Store.Lock(ctx, in.VideoID)
	switch {
	case err == nil:
		defer unlock()
	case !errors.Is(err, fs.ErrNotExist): // without a folder there is nothing to lock
		return in, err
	}
	if in.UploadID == "" {
		if in.UploadID, err = c.origin(ctx, in.VideoID); err != nil {
			return in, err
		}
	}
	data, err := json.Marshal(in)
	if err != nil {
		return in, err
	}
	in.version, err = c.Store.Write(ctx, media.DeletionKey(in.VideoID), data, media.None)
	if vault.KindOf(err) == vault.Conflict {
		in, err = c.readIntent(ctx, in.VideoID)
	}
	return in, err
}

// origin finds the upload of a video whose record does not name it: records did not at first, and a damaged one cannot.
func (c *Collection) origin(ctx context.Context, id vault.VideoID) (vault.UploadID, error) {
	from, err := c.Deletion.MarkedFrom(ctx, id)
	if from != "" || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return from, err
	}
	return c.Deletion.Uploads.Origin(ctx, id)
}

func (c *Collection) readIntent(ctx context.Context, id vault.VideoID) (in Intent, err error) {
	data, version, err := c.Store.Read(ctx, media.DeletionKey(id))
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	in.VideoID, in.version = id, version
	return in, err
}

// hide records who removes a video, and then takes it from everybody's eyes. What is hidden is on record already.
func (c *Collection) hide(ctx context.Context, in Intent) error {
	_, err := c.Store.Stamp(ctx, media.MetaKey(in.VideoID))
	if err == nil {
		err = c.Audit.Append(ctx, audit.Upload, in.event())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	failpoint.Hit("delete/audited")
	if err := c.Store.HideVideo(ctx, in.VideoID); err != nil {
		return err
	}
	failpoint.Hit("delete/hidden")
	return nil
}

// event is the same for every run, and so is its id.
func (in Intent) event() audit.Event {
	details := map[string]any{}
	if in.Owner != "" {
		details["owner"] = in.Owner
	}
	if in.KeyID != "" {
		details["keyId"] = in.KeyID
	}
	return audit.Event{
		ID:     uuid.NewSHA1(uuid.NameSpaceURL, []byte("pulsevault:video.deleted:"+string(in.VideoID))).String(),
		Action: "video.deleted", RequestID: in.RequestID, UserID: in.By, Address: in.Address,
		UploadID: string(in.UploadID), VideoID: string(in.VideoID), Details: details,
	}
}

// clear removes all that there is of a hidden video, and says so in its intent. Workers are told to stop before the bytes go;
// if they cannot be, the bytes go all the same, because nothing they do can be published any more.
func (c *Collection) clear(ctx context.Context, in Intent) error {
	if err := c.Deletion.Unmark(ctx, in.VideoID); err != nil {
		return err
	}
	failpoint.Hit("delete/unmarked")
	ended := c.Deletion.EndTasks(ctx, in.VideoID)
	if err := errors.Join(c.Store.RemoveVideo(ctx, in.VideoID), ended); err != nil {
		return err
	}
	failpoint.Hit("delete/removed")
	if err := c.forgetUpload(ctx, in); err != nil {
		return err
	}
	failpoint.Hit("delete/forgotten")
	if err := errors.Join(c.Deletion.Uncache(ctx, in.VideoID), c.Index.Remove(ctx, in.VideoID)); err != nil {
		return err
	}
	failpoint.Hit("delete/unlisted")
	if !in.GoneAt.IsZero() {
		return c.Store.Delete(ctx, media.DeletionKey(in.VideoID))
	}
	in.GoneAt = c.Now().UTC()
	data, err := json.Marshal(in)
	if err == nil {
		_, err = c.Store.Write(ctx, media.DeletionKey(in.VideoID), data, in.version)
	}
	if vault.KindOf(err) == vault.Conflict { // somebody else has done the same
		return nil
	}
	return err
}

// forgetUpload leaves of an upload's record what tells that its video was deleted, and nothing of what was in it.
func (c *Collection) forgetUpload(ctx context.Context, in Intent) error {
	if in.UploadID == "" {
		return nil
	}
	release, err := c.Deletion.Locks.Hold(ctx, in.UploadID)
	if err != nil {
		return err
	}
	defer release()
	u, err := c.Deletion.Uploads.Get(ctx, in.UploadID)
	if vault.KindOf(err) == vault.NotFound && err != nil || err == nil && (u.VideoID != in.VideoID || u.Deleted) {
		return nil
	}
	if err != nil {
		return err
	}
	u.Metadata, u.HashState, u.Deleted, u.Finalized = nil, nil, true, true
	u.Finalize = &vault.FinalizeRequest{At: in.At}
	if u.Multipart != nil {
		u.Multipart.Head = nil
	}
	return c.Deletion.Uploads.Save(ctx, &u)
}

// deletions are the videos that somebody has begun to remove, or has removed lately.
func (c *Collection) deletions(ctx context.Context) (ids []vault.VideoID, err error) {
	keys, err := c.Store.List(ctx, media.DeletionPrefix)
	for _, key := range keys {
		if id, err := vault.ParseVideoID(strings.TrimPrefix(key, media.DeletionPrefix)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// Sweep goes on with what crashes, or a Redis that was away, have left half removed, and returns how many videos it has
// removed.
func (c *Collection) Sweep(ctx context.Context) (removed int, err error) {
	ids, err := c.deletions(ctx)
	errs := []error{err}
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		in, err := c.readIntent(ctx, id)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !in.GoneAt.IsZero() && c.Now().Before(in.GoneAt.Add(settled)) {
			continue
		}
		if err == nil {
			err = c.hide(ctx, in)
		}
		if err == nil {
			err = c.clear(ctx, in)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("delete video %s: %w", id, err))
			continue
		}
		removed++
	}
	return removed, errors.Join(errs...)
}
