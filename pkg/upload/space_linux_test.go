package upload_test

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A disk that fills up while a piece arrives: 507, what was acknowledged is kept, and it goes on when there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("NOT TESTED: cannot mount a small file system here, which needs root: %v; TestDeviceFull shows the rest", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w := newWorldIn(t, dir)
	data := randomBytes(3 << 20)
	id := w.create(len(data))
	w.expect(w.patch(id, 0, bytes.NewReader(data[:1<<20])), 204)
	hog := filepath.Join(dir, "hog")
	if err := os.WriteFile(hog, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w.expect(w.patch(id, 1<<20, bytes.NewReader(data[1<<20:]), "Upload-Checksum: "+claimOf("sha1", data[1<<20:])), 507)
	if got := w.offset(id); got != 1<<20 {
		t.Fatalf("offset %d: some of a piece with a checksum counts", got)
	}
	w.expect(w.patch(id, 1<<20, bytes.NewReader(data[1<<20:])), 507)
	got := w.offset(id)
	if got < 1<<20 {
		t.Fatalf("offset %d: what was acknowledged is lost", got)
	}
	if info, err := os.Stat(w.dir.DataPath(id)); err != nil || info.Size() != int64(got) {
		t.Errorf("what was not acknowledged still fills the disk: %d bytes beyond %d, %v", info.Size()-int64(got), got, err)
	}
	w.expect(w.do("POST", "/uploads", nil, "Upload-Length: 104857600"), 507)
	if err := os.Remove(hog); err != nil {
		t.Fatal(err)
	}
	offset := w.offset(id)
	w.expect(w.patch(id, offset, bytes.NewReader(data[offset:])), 204)
	w.wantStored(id, data)
}

// The same without root: the system's own full device stands in for the upload's file.
func TestDeviceFull(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(600_000)
	id := w.create(len(data))
	path := w.dir.DataPath(id)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	w.expect(w.patch(id, 0, bytes.NewReader(data)), 507)
	if got := w.offset(id); got != 0 {
		t.Fatalf("offset %d of bytes that were never written", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	w.expect(w.patch(id, 0, bytes.NewReader(data)), 204)
	w.wantStored(id, data)
}
