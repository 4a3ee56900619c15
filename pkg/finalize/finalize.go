// Package finalize turns a finished upload into a stored video.
//
// It writes in this order, each step on disk before the next begins:
//
//	the request, and with it the video's id, into the upload's record
//	the marker that the video wants work
//	the original, moved to its place
//	meta.json
//	the audit entry
//	the task in the queue
//
// Running it again after a crash at any point does what is left to do: the request in the record is the one that counts,
// and every step is harmless when it was done before. Only the audit entry may then stand twice, under one eventId.
package finalize

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/internal/failpoint"
	"pulsevault/pkg/vault"
)

// Uploads is where finished uploads come from.
type Uploads interface {
	Get(ctx context.Context, id vault.UploadID) (vault.Upload, error)
	Save(ctx context.Context, u *vault.Upload) error
	// Head returns the first bytes of an upload, enough to tell its type.
	Head(ctx context.Context, u vault.Upload) ([]byte, error)
	// Deliver makes the bytes the original of the upload's video, without copying them. A repeat does nothing.
	Deliver(ctx context.Context, u vault.Upload) error
}

// Locks keeps everyone else out of an upload. Hold asks a writer to let go and waits for a while.
type Locks interface {
	Hold(ctx context.Context, id vault.UploadID) (release func(), err error)
}

// Markers are the videos that want work.
type Markers interface {
	Mark(ctx context.Context, id vault.VideoID, from vault.UploadID) error
}

// Videos keeps the records of videos.
type Videos interface {
	Create(ctx context.Context, v vault.Video) (vault.Video, error)
	Public(ctx context.Context, id vault.VideoID) ([]byte, error)
}

// Auditor keeps the record of what happened.
type Auditor interface {
	Append(ctx context.Context, c audit.Category, e audit.Event) error
}

// Denials keeps the record of who was refused what.
type Denials interface {
	Denied(ctx context.Context, e audit.Event)
}

// Finalizer finalizes uploads. Any number of goroutines and processes may finalize the same one at once; all get the same
// answer.
type Finalizer struct {
	Uploads Uploads
	Locks   Locks
	Markers Markers
	Videos  Videos
	Audit   Auditor
	Policy  auth.Policy
	Denials Denials // nil records none
	// Checksum returns the lower-case hex SHA-256 of a complete upload.
	Checksum func(u vault.Upload) (string, error)
	Enqueue  func(ctx context.Context, t vault.Task) error
	// Gone reports whether somebody has begun to delete a video. What store has left of one that is gone is taken away again.
	Gone func(ctx context.Context, id vault.VideoID) (bool, error)
	// Stands reports whether a video that was finalized is still there.
	Stands func(ctx context.Context, id vault.VideoID) (bool, error)
	// Enlist puts a video that has its record where videos are listed. What comes of it is not finalize's business.
	Enlist func(ctx context.Context, v vault.Video)
	// Announce tells of a complete upload what a crash has kept from being told when its last piece came.
	Announce func(ctx context.Context, u *vault.Upload, address, requestID string) error
	// Accepts reports whether a sniffed media type is a video that can be transcoded.
	Accepts func(contentType string) bool
	// Transcode says whether videos are queued for transcoding (TRANSCODE_ENABLED). They are marked as wanting it anyway.
	Transcode bool
	Now       func() time.Time
	Metrics   *Metrics
	Log       *slog.Logger
}

// Metrics counts finalized uploads of this process.
type Metrics struct{ finalized prometheus.Counter }

// NewMetrics registers the metrics of finalizing.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pulsevault_finalized_total", Help: "Uploads that have become videos.",
	})}
	reg.MustRegister(m.finalized)
	return m
}

// Request is what a client asks for.
type Request struct {
	UploadID vault.UploadID
	Filename string
	UserID   string // whose the video is to be; empty is whose the upload is
	Checksum string // lower-case hex SHA-256 that the bytes must have; empty if the client does not say
	Metadata []byte // a JSON object in canonical form, or nothing

	Caller             auth.Caller
	Address, RequestID string // of the caller, for the audit log
}

// Finalize makes a video of a complete upload and returns the upload's record, which names the video. The first request
// that is accepted counts; later ones get the same answer.
func (f *Finalizer) Finalize(ctx context.Context, req Request) (vault.Upload, error) {
	u, err := f.ready(ctx, req)
	if err != nil || u.Finalized {
		return u, err
	}
	release, err := f.Locks.Hold(ctx, req.UploadID)
	if err != nil {
		return u, err
	}
	defer release()
	// The client may go; what has begun is done whole.
	ctx = context.WithoutCancel(ctx)
	if u, err = f.ready(ctx, req); err != nil || u.Finalized {
		return u, err
	}
	if u.Finalize == nil {
		if u, err = f.accept(ctx, u, req); err != nil {
			return u, err
		}
	}
	return f.carryOut(ctx, u, req)
}

// Resume does what is left to do for an upload whose finalizing was cut short. It does nothing for others.
func (f *Finalizer) Resume(ctx context.Context, id vault.UploadID) (resumed bool, err error) {
	u, err := f.Uploads.Get(ctx, id)
	if err != nil || u.Finalize == nil || u.Finalized {
		return false, err
	}
	release, err := f.Locks.Hold(ctx, id)
	if err != nil {
		return false, err
	}
	defer release()
	u, err = f.Uploads.Get(ctx, id)
	if err != nil || u.Finalize == nil || u.Finalized {
		return false, err
	}
	_, err = f.carryOut(ctx, u, Request{UploadID: id})
	return err == nil, err
}

// ready returns the record of an upload that may be finalized, or has been.
func (f *Finalizer) ready(ctx context.Context, req Request) (vault.Upload, error) {
	u, err := f.admitted(ctx, req)
	if err != nil {
		return u, err
	}
	if err := f.deleted(ctx, u); err != nil {
		return u, err
	}
	if u.Expired(f.Now()) {
		return u, vault.Errorf(vault.NotFound, "upload_not_found", "the upload has expired; upload the file again")
	}
	if !u.Complete() {
		e := vault.Errorf(vault.Conflict, "upload_incomplete", "%d of %d bytes have arrived; resume the upload at offset %d, then finalize", u.Offset, u.Size, u.Offset)
		if u.Size == 0 {
			e.Message = "the upload has 0 of 0 bytes, which is no video; upload the file again"
		}
		e.Details = map[string]any{"offset": u.Offset, "size": u.Size}
		return u, e
	}
	if req.Checksum != "" {
		sum, err := f.Checksum(u)
		if err != nil {
			return u, err
		}
		if sum != req.Checksum {
			return u, vault.Errorf(vault.Unprocessable, "checksum_mismatch", "the bytes that arrived have the SHA-256 %s, not the one given; upload the file again", sum)
		}
	}
	return u, nil
}

// deleted is an error if the video that an upload became is no longer there. Not every upload's record says so: records of
// videos from before they named their uploads did not lead whoever removed them here.
func (f *Finalizer) deleted(ctx context.Context, u vault.Upload) error {
	switch {
	case u.Deleted:
		return errDeleted()
	case !u.Finalized:
		return nil
	}
	stands, err := f.Stands(ctx, u.VideoID)
	switch {
	case err != nil:
		return fmt.Errorf("finalize upload %s: %w", u.UploadID, err)
	case !stands:
		return errDeleted()
	}
	return nil
}

// admitted returns the record of an upload that the caller may finalize. Of another's the same is said, and done, as of one
// that is not there.
func (f *Finalizer) admitted(ctx context.Context, req Request) (vault.Upload, error) {
	u, err := f.Uploads.Get(ctx, req.UploadID)
	switch {
	case err != nil && (vault.KindOf(err) != vault.NotFound || req.Caller.Open()):
		return u, err
	case err != nil:
		f.denied(ctx, req, "not_there")
	case f.Policy.May(req.Caller, auth.Upload, u.Owner):
		return u, nil
	default:
		f.denied(ctx, req, "not_yours")
	}
	return vault.Upload{}, vault.NoUpload()
}

func (f *Finalizer) denied(ctx context.Context, req Request, reason string) {
	if f.Denials == nil {
		return
	}
	details := map[string]any{"reason": reason}
	req.Caller.Explain(req.Caller.UserID(), details)
	f.Denials.Denied(ctx, audit.Event{
		Action: "finalize.denied", RequestID: req.RequestID, UserID: req.Caller.UserID(), Address: req.Address, UploadID: string(req.UploadID), Details: details,
	})
}

// accept looks at the bytes and puts the request into the upload's record. From here on it is decided what the upload
// becomes.
func (f *Finalizer) accept(ctx context.Context, u vault.Upload, req Request) (vault.Upload, error) {
	head, err := f.Uploads.Head(ctx, u)
	if err != nil {
		return u, fmt.Errorf("finalize upload %s: %w", u.UploadID, err)
	}
	contentType := sniff(head)
	if !f.Accepts(contentType) {
		return u, vault.Errorf(vault.Unsupported, "not_a_video", "the bytes look like %s, which is no video that can be played here", contentType)
	}
	sum, err := f.Checksum(u)
	if err != nil {
		return u, err
	}
	u.Finalize = &vault.FinalizeRequest{
		Filename: req.Filename, UserID: cmp.Or(req.UserID, u.Owner, req.Caller.Name), Metadata: req.Metadata,
		ContentType: contentType, Checksum: sum, At: f.Now().UTC().Truncate(time.Microsecond),
	}
	if err := f.Announce(ctx, &u, req.Address, req.RequestID); err != nil {
		u.Finalize = nil
		return u, fmt.Errorf("finalize upload %s: %w", u.UploadID, err)
	}
	if err := f.Uploads.Save(ctx, &u); err != nil {
		u.Finalize = nil
		return u, err
	}
	failpoint.Hit("finalize/recorded")
	return u, nil
}

func errDeleted() error {
	return vault.Errorf(vault.NotFound, "video_deleted", "the video that this upload became has been deleted; upload the file again")
}

func (f *Finalizer) carryOut(ctx context.Context, u vault.Upload, req Request) (vault.Upload, error) {
	err := f.store(ctx, u)
	gone, goneErr := f.Gone(ctx, u.VideoID) // after the record was made: who deletes says so before they remove it
	switch {
	case goneErr != nil:
		return u, fmt.Errorf("finalize upload %s: %w", u.UploadID, goneErr)
	case gone:
		return u, errDeleted()
	case err != nil:
		return u, fmt.Errorf("finalize upload %s: %w", u.UploadID, err)
	}
	if err := f.Audit.Append(ctx, audit.Upload, event(u, req)); err != nil {
		return u, fmt.Errorf("finalize upload %s: %w", u.UploadID, err)
	}
	failpoint.Hit("finalize/audited")
	if f.Transcode {
		// The marker is on disk: if the queue is down, the sweep brings the task.
		if err := f.Enqueue(ctx, vault.Task{Type: vault.TranscodeVideo, VideoID: u.VideoID}); err != nil {
			f.Log.WarnContext(ctx, "task not queued; the sweep will", "videoId", u.VideoID, "error", err)
		}
	}
	failpoint.Hit("finalize/queued")
	u.Finalized = true
	if err := f.Uploads.Save(ctx, &u); err != nil {
		return u, err
	}
	f.Metrics.finalized.Inc()
	f.Log.InfoContext(ctx, "video finalized", "videoId", u.VideoID, "uploadId", u.UploadID, "size", u.Size)
	return u, nil
}

// store leaves the video in the media store, marked as wanting work.
func (f *Finalizer) store(ctx context.Context, u vault.Upload) error {
	if err := f.Markers.Mark(ctx, u.VideoID, u.UploadID); err != nil {
		return err
	}
	failpoint.Hit("finalize/marked")
	if err := f.Uploads.Deliver(ctx, u); err != nil {
		return err
	}
	failpoint.Hit("finalize/moved")
	v, err := f.Videos.Create(ctx, vault.Video{
		VideoID: u.VideoID, UploadID: u.UploadID, Filename: u.Finalize.Filename, UserID: u.Finalize.UserID, ContentType: u.Finalize.ContentType,
		OriginalSize: u.Size, OriginalChecksum: u.Finalize.Checksum, UploadedAt: u.Finalize.At, Metadata: u.Finalize.Metadata,
	})
	if err != nil {
		return err
	}
	failpoint.Hit("finalize/meta")
	f.Enlist(ctx, v)
	_, err = f.Videos.Public(ctx, u.VideoID) // fills the cache
	return err
}

// event is the same for every run, and so is its id.
func event(u vault.Upload, req Request) audit.Event {
	details := map[string]any{
		"size": u.Size, "checksum": u.Finalize.Checksum, "contentType": u.Finalize.ContentType, "filename": u.Finalize.Filename,
	}
	req.Caller.Explain(u.Finalize.UserID, details)
	return audit.Event{
		ID:     uuid.NewSHA1(uuid.NameSpaceURL, []byte("pulsevault:video.finalized:"+string(u.VideoID))).String(),
		Action: "video.finalized", RequestID: req.RequestID, UserID: u.Finalize.UserID, Address: req.Address,
		UploadID: string(u.UploadID), VideoID: string(u.VideoID), Details: details,
	}
}
