package upload_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
)

// store is what keeps uploads, with the media that they become.
type store interface {
	upload.Store
	upload.Deliverer
}

// forEachStore runs a test with uploads in a directory and with uploads in a bucket.
func forEachStore(t *testing.T, test func(t *testing.T, s store, m media.Store, c *clock)) {
	t.Run("directory", func(t *testing.T) {
		root, c := t.TempDir(), &clock{now: time.Now()}
		m := &media.Dir{Videos: filepath.Join(root, "videos"), Pending: filepath.Join(root, "pending")}
		d := &upload.Dir{Path: filepath.Join(root, "uploads"), Media: m, Expiry: time.Hour, Now: c.Now, Log: slog.New(slog.DiscardHandler)}
		if err := errors.Join(m.Init(), d.Init()); err != nil {
			t.Fatal(err)
		}
		test(t, d, m, c)
	})
	t.Run("bucket", func(t *testing.T) {
		c := &clock{now: time.Now()}
		m := mediatest.StartS3(t).Open(t)
		test(t, &upload.Bucket{Media: m, Expiry: time.Hour, Now: c.Now, Log: slog.New(slog.DiscardHandler)}, m, c)
	})
}

// sendPieces sends data in pieces, each to a record that is read afresh, as one request after another does.
func sendPieces(t *testing.T, s store, id vault.UploadID, data []byte, pieces ...int) vault.Upload {
	t.Helper()
	for len(pieces) > 0 {
		u, err := s.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		n := int64(pieces[0])
		taken, err := s.Append(t.Context(), &u, bytes.NewReader(data[u.Offset:u.Offset+n]), nil)
		if err != nil || taken != n {
			t.Fatalf("%d of %d bytes taken, %v", taken, n, err)
		}
		pieces = pieces[1:]
	}
	u, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func create(t *testing.T, s store, size int) vault.Upload {
	t.Helper()
	u, err := s.Create(t.Context(), "ann", int64(size), map[string]string{"filename": "gait.mp4"})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestStoreTakesPiecesAndDelivers(t *testing.T) {
	const mib = 1 << 20
	data := randomBytes(21*mib + 5)
	forEachStore(t, func(t *testing.T, s store, m media.Store, _ *clock) {
		for name, pieces := range map[string][]int{
			"one":              {21*mib + 5},
			"of 4 MiB":         {4 * mib, 4 * mib, 4 * mib, 4 * mib, 4 * mib, mib + 5},
			"tiny ones":        {1, 3000, 2000, 21*mib + 5 - 5001},
			"a part, the rest": {8 * mib, 8 * mib, 5*mib + 5},
			"nothing between":  {mib, 0, 20*mib + 5},
		} {
			u := create(t, s, len(data))
			u = sendPieces(t, s, u.UploadID, data, pieces...)
			sum, err := upload.Checksum(u)
			if want := sha256.Sum256(data); err != nil || sum != hex.EncodeToString(want[:]) || !u.Complete() {
				t.Errorf("%s: checksum %s, %v, complete %v", name, sum, err, u.Complete())
			}
			if head, err := s.Head(t.Context(), u); err != nil || !bytes.Equal(head, data[:upload.HeadSize]) {
				t.Errorf("%s: the head has %d wrong bytes, %v", name, len(head), err)
			}
			for range 2 {
				if err := s.Deliver(t.Context(), u); err != nil {
					t.Fatal(name, err)
				}
			}
			if got, _, err := m.Read(t.Context(), media.OriginalKey(u.VideoID)); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: the original has %d bytes that are not those sent, %v", name, len(got), err)
			}
		}
		if open, err := s.Open(t.Context()); err != nil || len(open) != 0 {
			t.Errorf("still open: %v, %v", open, err)
		}
	})
}

// What comes before a connection breaks counts, and is in the checksum once.
func TestStoreKeepsWhatComesBeforeAnError(t *testing.T) {
	data := randomBytes(10 << 20)
	broken := errors.New("connection reset")
	forEachStore(t, func(t *testing.T, s store, m media.Store, _ *clock) {
		u := create(t, s, len(data))
		for _, end := range []int64{1 << 20, 9 << 20, 9<<20 + 1} {
			src := io.MultiReader(bytes.NewReader(data[u.Offset:end]), iotest.ErrReader(broken))
			if _, err := s.Append(t.Context(), &u, src, nil); !errors.Is(err, broken) {
				t.Fatal(err)
			}
			if u = sendPieces(t, s, u.UploadID, data); u.Offset != end {
				t.Fatalf("offset %d, want %d", u.Offset, end)
			}
		}
		u = sendPieces(t, s, u.UploadID, data, 1<<20-1)
		want := sha256.Sum256(data)
		if sum, err := upload.Checksum(u); err != nil || sum != hex.EncodeToString(want[:]) {
			t.Errorf("checksum %s, %v", sum, err)
		}
		if err := s.Deliver(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if got, _, err := m.Read(t.Context(), media.OriginalKey(u.VideoID)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

func TestStoreForgets(t *testing.T) {
	data := randomBytes(9 << 20)
	forEachStore(t, func(t *testing.T, s store, m media.Store, c *clock) {
		removed, expired, kept := create(t, s, len(data)), create(t, s, len(data)), create(t, s, len(data))
		for _, u := range []vault.Upload{removed, expired, kept} {
			sendPieces(t, s, u.UploadID, data, len(data)-5)
		}
		removed = sendPieces(t, s, removed.UploadID, data)
		if err := s.Remove(t.Context(), removed); err != nil {
			t.Fatal(err)
		}
		if gone, err := s.Discard(t.Context(), expired.UploadID); gone || err != nil {
			t.Errorf("discarded before its time: %v, %v", gone, err)
		}
		c.advance(50 * time.Minute)
		sendPieces(t, s, kept.UploadID, data, 1)
		c.advance(11 * time.Minute)
		if gone, err := s.Discard(t.Context(), expired.UploadID); !gone || err != nil {
			t.Errorf("not discarded: %v, %v", gone, err)
		}
		for _, u := range []vault.Upload{removed, expired} {
			if _, err := s.Get(t.Context(), u.UploadID); vault.KindOf(err) != vault.NotFound {
				t.Errorf("still there: %v", err)
			}
		}
		if open, err := s.Open(t.Context()); err != nil || !slices.Equal(open, []vault.UploadID{kept.UploadID}) {
			t.Errorf("open: %v, %v", open, err)
		}
		if b, ok := m.(*media.Bucket); ok {
			if keys, err := b.List(t.Context(), "tails/"); err != nil || len(keys) != 1 {
				t.Errorf("%v is kept, %v; want the end of one upload", keys, err)
			}
		}
	})
}

// Two writers whom no lock has kept apart: one counts, the other hears of it, and the bytes are the first one's.
func TestBucketCountsOneOfTwoWriters(t *testing.T) {
	data := randomBytes(9 << 20)
	m := mediatest.StartS3(t).Open(t)
	s := &upload.Bucket{Media: m, Expiry: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	id := create(t, s, len(data)).UploadID
	first := sendPieces(t, s, id, data, 1000)
	late, between := first, first
	pipe, sender := io.Pipe()
	done := make(chan error)
	go func() { // has begun before the first goes on, and ends after it
		_, err := s.Append(t.Context(), &between, pipe, nil)
		done <- err
	}()
	_, _ = sender.Write(make([]byte, 100))
	if _, err := s.Append(t.Context(), &first, bytes.NewReader(data[1000:2000]), nil); err != nil {
		t.Fatal(err)
	}
	_ = sender.Close()
	if err := <-done; vault.KindOf(err) != vault.Conflict {
		t.Errorf("the writer in between: %v", err)
	}
	if _, err := s.Append(t.Context(), &late, bytes.NewReader(make([]byte, 500)), nil); vault.KindOf(err) != vault.Conflict {
		t.Errorf("the late writer: %v", err)
	}
	u := sendPieces(t, s, id, data, len(data)-2000)
	if err := s.Deliver(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got, _, err := m.Read(t.Context(), media.OriginalKey(u.VideoID)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The upload of a video is found by the video's id alone, also where many came at the same time, and others' are not.
func TestOriginOfAVideo(t *testing.T) {
	forEachStore(t, func(t *testing.T, s store, _ media.Store, _ *clock) {
		var all []vault.Upload
		for range 5 {
			all = append(all, create(t, s, 10))
		}
		for _, u := range all {
			if id, err := s.Origin(t.Context(), u.VideoID); id != u.UploadID || err != nil {
				t.Errorf("video %s comes from %q, %v; want %s", u.VideoID, id, err, u.UploadID)
			}
		}
		for _, id := range []vault.VideoID{vault.NewVideoID(), "00000000-0000-4000-8000-000000000000"} {
			if from, err := s.Origin(t.Context(), id); from != "" || err != nil {
				t.Errorf("video %s comes from %s, %v", id, from, err)
			}
		}
	})
}
