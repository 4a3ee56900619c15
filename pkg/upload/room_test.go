package upload_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"pulsevault/pkg/vault"
)

// room counts what is open, and refuses everything when it is told to.
type room struct {
	count, bytes atomic.Int64
	refusal      atomic.Pointer[vault.Error]
}

func (r *room) Take(_ context.Context, size int64) error {
	if e := r.refusal.Load(); e != nil {
		return e
	}
	r.count.Add(1)
	r.bytes.Add(size)
	return nil
}

func (r *room) Free(_ context.Context, size int64) {
	r.count.Add(-1)
	r.bytes.Add(-size)
}

func (r *room) String() string {
	return fmt.Sprintf("%d uploads, %d bytes", r.count.Load(), r.bytes.Load())
}

// Where there is no room for another upload the client is told whether and when to come again, and nothing is left behind;
// an upload that is open can go on.
func TestNoRoomForAnotherUpload(t *testing.T) {
	w := newWorld(t)
	id := w.create(10)
	for _, tc := range []struct {
		kind       vault.Kind
		code       string
		status     int
		retryAfter string
	}{
		{vault.Unavailable, "too_many_uploads", 503, "5"}, {vault.NoSpace, "too_many_bytes_pending", 507, ""},
	} {
		w.room.refusal.Store(vault.Errorf(tc.kind, tc.code, "try again"))
		before, _ := os.ReadDir(w.dir.Path)
		resp := w.expect(w.do("POST", "/uploads", nil, "Upload-Length: 10"), tc.status)
		body, _ := io.ReadAll(resp.Body)
		if !strings.Contains(string(body), `"code":"`+tc.code+`"`) || resp.Header.Get("Retry-After") != tc.retryAfter {
			t.Errorf("%s, Retry-After %q", body, resp.Header.Get("Retry-After"))
		}
		if after, _ := os.ReadDir(w.dir.Path); len(after) != len(before) {
			t.Errorf("%s: %d files become %d", tc.code, len(before), len(after))
		}
	}
	w.expect(w.do("PATCH", "/uploads/"+string(id), strings.NewReader("0123456789"), "Upload-Offset: 0", "Content-Type: application/offset+octet-stream"), 204)
}

// What was counted is given back once, however an upload ends.
func TestRoomIsGivenBack(t *testing.T) {
	w := newWorld(t)
	kept, gone := w.create(10), w.create(20)
	if got := w.room.String(); got != "2 uploads, 30 bytes" {
		t.Errorf("after two: %s", got)
	}
	w.expect(w.do("DELETE", "/uploads/"+string(gone), nil), 204)
	w.expect(w.do("DELETE", "/uploads/"+string(gone), nil), 404)
	resp := w.do("POST", "/uploads", strings.NewReader("damaged"), "Upload-Length: 7", "Content-Type: application/offset+octet-stream",
		"Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	w.expect(resp, 460)
	if err := os.Rename(w.dir.Path, w.dir.Path+".away"); err != nil {
		t.Fatal(err)
	}
	w.expect(w.do("POST", "/uploads", nil, "Upload-Length: 40"), 500)
	if got := w.room.String(); got != "1 uploads, 10 bytes" {
		t.Errorf("with %s left: %s", kept, got)
	}
}
