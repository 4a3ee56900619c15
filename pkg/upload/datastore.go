package upload

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
)

// dataStore shows a Store to tusd's handler. tusd's own file store appends wherever the file ends, truncates its record in
// place and syncs nothing; its store for S3 deletes the acknowledged bytes behind the last part before it has written them
// elsewhere.
type dataStore struct {
	store      Store
	room       Room
	now        func() time.Time
	terminated func(ctx context.Context, u vault.Upload) // is told before an upload is removed
}

func (s dataStore) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	if err := s.room.Take(ctx, info.Size); err != nil {
		return nil, tusError(err)
	}
	u, err := s.store.Create(ctx, auth.From(ctx).UserID(), info.Size, info.MetaData)
	if err != nil {
		s.room.Free(ctx, info.Size)
		return nil, tusError(err)
	}
	noteExpiry(ctx, u)
	return &session{store: s, upload: u, created: true}, nil
}

func (s dataStore) GetUpload(ctx context.Context, name string) (handler.Upload, error) {
	id, err := vault.ParseUploadID(name)
	if err != nil {
		return nil, handler.ErrNotFound
	}
	u, err := s.store.Get(ctx, id)
	if err != nil {
		return nil, tusError(err)
	}
	if u.Deleted {
		return nil, handler.ErrNotFound
	}
	if u.Expired(s.now()) {
		return nil, handler.NewError("ERR_UPLOAD_EXPIRED", "the upload has expired; create a new one", http.StatusGone)
	}
	noteExpiry(ctx, u)
	return &session{store: s, upload: u}, nil
}

func (s dataStore) remove(ctx context.Context, u vault.Upload) error {
	err := s.store.Remove(ctx, u)
	if err == nil {
		s.room.Free(ctx, u.Size)
	}
	return err
}

func (s dataStore) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload {
	return u.(*session)
}

// session is an upload for the time of one request, which holds its lock.
type session struct {
	store   dataStore
	upload  vault.Upload
	created bool // by this very request
}

func (s *session) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	x := exchangeOf(ctx)
	x.interrupt.begin()
	if offset != s.upload.Offset {
		return 0, handler.ErrMismatchOffset
	}
	n, err := s.store.store.Append(ctx, &s.upload, src, x.claim)
	noteExpiry(ctx, s.upload)
	if vault.KindOf(err) == vault.Unprocessable {
		err = s.mismatch(ctx, src, err)
	}
	return n, tusError(err)
}

// mismatch tells a piece that was damaged from one that was cut short, of which tusd shows the store the end only: it will
// say itself what has happened. An upload that was to begin with a damaged piece does not: nobody would hear of it.
func (s *session) mismatch(ctx context.Context, src io.Reader, err error) error {
	x := exchangeOf(ctx)
	_, _ = src.Read(make([]byte, 1)) // a store need not have read further than the upload goes
	switch {
	case !x.deadline.hasEnded():
		return nil
	case s.created:
		x.expires = time.Time{}
		return cmp.Or(s.store.remove(ctx, s.upload), err)
	}
	return err
}

func (s *session) GetInfo(context.Context) (handler.FileInfo, error) {
	return handler.FileInfo{
		ID: string(s.upload.UploadID), Size: s.upload.Size, Offset: s.upload.Offset, MetaData: s.upload.Metadata,
	}, nil
}

// GetReader is for tusd's GET, which is not part of tus and not mounted: the bytes are nobody's to read before they are a
// video.
func (s *session) GetReader(context.Context) (io.ReadCloser, error) { return nil, handler.ErrNotFound }

func (s *session) FinishUpload(context.Context) error { return nil }

func (s *session) Terminate(ctx context.Context) error {
	if s.upload.Finalize != nil {
		return handler.NewError("ERR_UPLOAD_FINALIZED", "the upload has become a video and can no longer be taken back", http.StatusConflict)
	}
	s.store.terminated(ctx, s.upload)
	return tusError(s.store.remove(ctx, s.upload))
}

// tusError gives an error the status that it has on every other route; tusd knows only its own kind.
func tusError(err error) error {
	var e *vault.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case vault.NotFound:
		return handler.ErrNotFound
	case vault.Conflict:
		return handler.NewError("ERR_UPLOAD_CHANGED", e.Message, http.StatusConflict)
	case vault.Unprocessable:
		return handler.NewError("ERR_"+strings.ToUpper(e.Code), e.Message, statusMismatch)
	case vault.NoSpace:
		return handler.NewError("ERR_"+strings.ToUpper(e.Code), e.Message, http.StatusInsufficientStorage)
	case vault.Unavailable:
		t := handler.NewError("ERR_"+strings.ToUpper(e.Code), e.Message, http.StatusServiceUnavailable)
		t.HTTPResponse.Header["Retry-After"] = strconv.Itoa(unavailableRetry)
		return t
	}
	return err
}

const (
	unavailableRetry = 5   // seconds
	statusMismatch   = 460 // "Checksum Mismatch", as tus calls it
)
