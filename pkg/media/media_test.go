package media_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/vault"
)

func newDir(t *testing.T) *media.Dir {
	t.Helper()
	root := t.TempDir()
	d := &media.Dir{Videos: filepath.Join(root, "videos"), Pending: filepath.Join(root, "pending")}
	if err := d.Init(); err != nil {
		t.Fatal(err)
	}
	return d
}

func put(d *media.Dir, key string) error {
	_, err := d.Write(context.Background(), key, []byte("x"), media.Any)
	return err
}

func TestDir(t *testing.T) {
	d := newDir(t)
	mediatest.Test(t, d, func() media.Store { return &media.Dir{Videos: d.Videos, Pending: d.Pending} })
}

func TestBucket(t *testing.T) {
	s := mediatest.StartS3(t)
	mediatest.Test(t, s.Open(t), func() media.Store { return s.Open(t) })
}

func TestValidPath(t *testing.T) {
	for path, valid := range map[string]bool{
		"original.mp4": true, "hls/master.m3u8": true, "hls/240p.g2_000.ts": true, "metadata": true, "a/b/c-d_e~f.ts": true,
		"": false, ".": false, "..": false, "../x": false, "/x": false, "x/": false, "a//b": false, "a/../b": false, "a..b": false,
		".hidden": false, "hls/.hidden": false, "meta.json": false, "META.json": false, "a b": false, "a%2fb": false, `a\b`: false, "ä": false, "a\x00": false,
		"./x": false, "a/./b": false, strings.Repeat("a/", 9) + "b": false,
	} {
		if media.ValidPath(path) != valid {
			t.Errorf("ValidPath(%q) = %v", path, !valid)
		}
	}
}

func TestKeysStayInside(t *testing.T) {
	d := newDir(t)
	for _, key := range []string{"", "videos", "videos/", "videos/../x", "videos//etc/passwd", "other/x", "/etc/passwd", "pending/../../x"} {
		if path, err := d.Path(key); err == nil {
			t.Errorf("%q leads to %s", key, path)
		}
	}
}

// What a Dir opens can be sent by the system itself, and what it imports is moved.
func TestDirKeepsFiles(t *testing.T) {
	d, id := newDir(t), vault.NewVideoID()
	from := filepath.Join(filepath.Dir(d.Videos), "upload")
	if err := os.WriteFile(from, []byte("bytes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Import(t.Context(), map[string]string{media.OriginalKey(id): from}); err != nil {
		t.Fatal(err)
	}
	f, err := d.Open(t.Context(), media.OriginalKey(id))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, ok := f.(interface {
		io.ReaderAt
		syscall.Conn
	}); !ok {
		t.Errorf("Open returns a %T, which sendfile does not take", f)
	}
	if _, err := os.Stat(from); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the file is still where it was")
	}
}

func TestWhatIsNotThereIsNotThere(t *testing.T) {
	d, id := newDir(t), vault.NewVideoID()
	if err := os.MkdirAll(filepath.Join(d.Videos, string(id), "hls"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := put(d, media.MetaKey(id)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{media.OriginalKey(id), media.VideoKey(id) + "/hls", media.MetaKey(id) + "/x", media.HLSKey(id, strings.Repeat("a", 300)), media.MetaKey(vault.NewVideoID())} {
		if f, err := d.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%.60s) = %v, %v", key, f, err)
		}
	}
	if _, err := d.Lock(t.Context(), vault.NewVideoID()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lock of an unknown video: %v", err)
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	d, id := newDir(t), vault.NewVideoID()
	other := &media.Dir{Videos: d.Videos, Pending: d.Pending}
	if err := os.Mkdir(filepath.Join(d.Videos, string(id)), 0o750); err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := other.Lock(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	again, err := other.Lock(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestLockRemovesWhatACrashLeft(t *testing.T) {
	d, id := newDir(t), vault.NewVideoID()
	folder := filepath.Join(d.Videos, string(id))
	temp := filepath.Join(folder, ".tmp-meta.json-123")
	err := errors.Join(os.Mkdir(folder, 0o750), os.WriteFile(temp, nil, 0o600), put(d, media.MetaKey(id)))
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := d.Lock(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if entries, _ := os.ReadDir(folder); len(entries) != 1 || entries[0].Name() != "meta.json" {
		t.Errorf("the folder holds %v", entries)
	}
}
