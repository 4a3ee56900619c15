// Package mediatest holds the test of what every media.Store promises, and runs a real S3 server for those in a bucket.
package mediatest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/vault"
)

// Test runs every promise against a store that holds nothing yet. again returns the same store as another process has it.
func Test(t *testing.T, store media.Store, again func() media.Store) {
	for name, test := range map[string]func(*testing.T, media.Store, media.Store){
		"what is written is read":           testWrite,
		"writes compare":                    testCompare,
		"one of many writers wins":          testRace,
		"what is not there is not there":    testNothing,
		"places are sought":                 testSeek,
		"files are imported":                testImport,
		"keys are listed and deleted":       testList,
		"markers":                           testMarkers,
		"a workshop has files":              testWorkshop,
		"a version differs between changes": testStamp,
		"videos are listed and removed":     testArchive,
	} {
		t.Run(name, func(t *testing.T) { test(t, store, again()) })
	}
}

func newKey() string { return media.MetaKey(vault.NewVideoID()) }

func write(t *testing.T, s media.Store, key, data, ifVersion string) string {
	t.Helper()
	version, err := s.Write(t.Context(), key, []byte(data), ifVersion)
	if err != nil || version == "" {
		t.Fatalf("write %s: version %q, %v", key, version, err)
	}
	return version
}

func testWrite(t *testing.T, s, again media.Store) {
	key := newKey()
	for _, data := range []string{"first", "", "a third one that is longer"} {
		version := write(t, s, key, data, media.Any)
		got, read, err := again.Read(t.Context(), key)
		if err != nil || string(got) != data || read != version {
			t.Errorf("%q of version %q, %v; want %q of version %q", got, read, err, data, version)
		}
		if stamp, err := again.Stamp(t.Context(), key); err != nil || stamp != version {
			t.Errorf("stamp %q, %v; want %q", stamp, err, version)
		}
		if info, err := again.Stat(t.Context(), key); err != nil || info.Size() != int64(len(data)) || time.Since(info.ModTime()) > time.Hour {
			t.Errorf("stat of %q: %v, %v", data, info, err)
		}
	}
}

func testCompare(t *testing.T, s, again media.Store) {
	key := newKey()
	first := write(t, s, key, "first", media.None)
	second := write(t, again, key, "second", first)
	for name, ifVersion := range map[string]string{"an older version": first, "none": media.None} {
		if _, err := s.Write(t.Context(), key, []byte("late"), ifVersion); vault.KindOf(err) != vault.Conflict {
			t.Errorf("a write over %s: %v", name, err)
		}
	}
	if got, version, err := s.Read(t.Context(), key); err != nil || string(got) != "second" || version != second {
		t.Errorf("%q of version %q, %v", got, version, err)
	}
	if _, err := s.Write(t.Context(), newKey(), []byte("x"), first); vault.KindOf(err) != vault.Conflict {
		t.Errorf("a write over what is not there: %v", err)
	}
}

// Of those who write at once over one version, under the lock of the video, one does, and the others hear of it.
func testRace(t *testing.T, s, again media.Store) {
	id := vault.NewVideoID()
	key := media.MetaKey(id)
	version := write(t, s, key, "old", media.None)
	var won atomic.Int32
	var writers sync.WaitGroup
	for i := range 16 {
		store := []media.Store{s, again}[i%2]
		writers.Go(func() {
			unlock, err := store.Lock(t.Context(), id)
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			_, err = store.Write(t.Context(), key, fmt.Appendf(nil, "writer %d", i), version)
			switch {
			case err == nil:
				won.Add(1)
			case vault.KindOf(err) != vault.Conflict:
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers have replaced one version", won.Load())
	}
}

func testNothing(t *testing.T, s, _ media.Store) {
	write(t, s, newKey(), "x", media.None)
	for _, key := range []string{newKey(), media.OriginalKey(vault.NewVideoID()), media.HLSKey(vault.NewVideoID(), string(bytes.Repeat([]byte("a"), 2000)))} {
		if _, _, err := s.Read(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("read %.60s: %v", key, err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %.60s: %v", key, err)
		}
		if _, err := s.Stamp(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stamp of %.60s: %v", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat of %.60s: %v", key, err)
		}
	}
	if err := s.Delete(t.Context(), newKey(), media.PendingKey(vault.NewVideoID())); err != nil {
		t.Error(err)
	}
	if keys, err := s.List(t.Context(), media.VideoKey(vault.NewVideoID())+"/hls/"); err != nil || len(keys) > 0 {
		t.Errorf("%v, %v", keys, err)
	}
}

func testSeek(t *testing.T, s, _ media.Store) {
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(i / 251)
	}
	key := newKey()
	write(t, s, key, string(data), media.Any)
	f, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() != int64(len(data)) || time.Since(info.ModTime()).Abs() > time.Hour {
		t.Fatalf("%v, %v", info, err)
	}
	for _, at := range []int64{0, 299_999, 1, 150_000, 300_000} {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.LimitReader(f, 1000))
		if want := data[at:min(at+1000, int64(len(data)))]; err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes from %d are not the right %d, %v", len(got), at, len(want), err)
		}
	}
	if end, err := f.Seek(-10, io.SeekEnd); err != nil || end != 299_990 {
		t.Errorf("the end is at %d, %v", end, err)
	}
	if got, err := io.ReadAll(f); err != nil || len(got) != 10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := f.Seek(-1, io.SeekStart); err == nil {
		t.Error("a place before the beginning was found")
	}
}

func testImport(t *testing.T, s, again media.Store) {
	id := vault.NewVideoID()
	folder, files := workFolder(t, s, id), map[string]string{}
	for i := range 20 {
		path := filepath.Join(folder, fmt.Sprintf("240p_%03d.ts", i))
		if err := os.WriteFile(path, fmt.Appendf(nil, "segment %d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		files[media.HLSKey(id, filepath.Base(path))] = path
	}
	if err := s.Import(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	if got, _, err := again.Read(t.Context(), media.HLSKey(id, "240p_007.ts")); err != nil || string(got) != "segment 7" {
		t.Errorf("%q, %v", got, err)
	}
	if keys, err := again.List(t.Context(), media.HLSKey(id, "")); err != nil || len(keys) != 20 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	if err := s.Import(t.Context(), map[string]string{media.OriginalKey(id): filepath.Join(folder, "none")}); err == nil {
		t.Error("a file that is not there was imported")
	}
}

// workFolder makes a folder from which a store can import.
func workFolder(t *testing.T, s media.Store, id vault.VideoID) string {
	t.Helper()
	folder, err := s.(media.Workshop).Scratch(id, ".work-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	return folder
}

func testList(t *testing.T, s, again media.Store) {
	id := vault.NewVideoID()
	for _, name := range []string{"b.ts", "a.ts", "ab.ts"} {
		write(t, s, media.HLSKey(id, name), name, media.Any)
	}
	write(t, s, media.MetaKey(id), "x", media.Any)
	for prefix, want := range map[string][]string{
		media.HLSKey(id, ""):     {media.HLSKey(id, "a.ts"), media.HLSKey(id, "ab.ts"), media.HLSKey(id, "b.ts")},
		media.HLSKey(id, "a"):    {media.HLSKey(id, "a.ts"), media.HLSKey(id, "ab.ts")},
		media.VideoKey(id) + "/": {media.MetaKey(id)},
	} {
		if got, err := again.List(t.Context(), prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("below %s: %v, %v", prefix, got, err)
		}
	}
	if err := s.Delete(t.Context(), media.HLSKey(id, "a.ts"), media.HLSKey(id, "none.ts"), media.HLSKey(id, "b.ts")); err != nil {
		t.Fatal(err)
	}
	if got, err := again.List(t.Context(), media.HLSKey(id, "")); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func testMarkers(t *testing.T, s, again media.Store) {
	here, there := media.Markers{Store: s}, media.Markers{Store: again}
	first, second, from := vault.NewVideoID(), vault.NewVideoID(), vault.NewUploadID()
	for _, id := range []vault.VideoID{second, first, second} {
		if err := here.Mark(t.Context(), id, from); err != nil {
			t.Fatal(err)
		}
	}
	write(t, s, "pending/.no-id", "x", media.Any)
	if got, err := there.Marked(t.Context()); err != nil || !slices.Equal(got, []vault.VideoID{first, second}) {
		t.Errorf("marked %v, %v, want the oldest first", got, err)
	}
	if got, err := there.MarkedFrom(t.Context(), second); err != nil || got != from {
		t.Errorf("marked from %q, %v", got, err)
	}
	write(t, s, media.PendingKey(second), "", media.Any)
	if got, err := there.MarkedFrom(t.Context(), second); err != nil || got != "" {
		t.Errorf("an empty marker: %q, %v", got, err)
	}
	for range 2 {
		if err := here.Unmark(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := there.MarkedFrom(t.Context(), first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no marker: %v", err)
	}
}

func testWorkshop(t *testing.T, s, _ media.Store) {
	id := vault.NewVideoID()
	write(t, s, media.OriginalKey(id), "bytes", media.Any)
	path, release, err := s.(media.Workshop).Local(t.Context(), media.OriginalKey(id))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "bytes" {
		t.Errorf("%q, %v", got, err)
	}
	release()
	if got, _, err := s.Read(t.Context(), media.OriginalKey(id)); err != nil || string(got) != "bytes" {
		t.Errorf("after release: %q, %v", got, err)
	}
}

func testStamp(t *testing.T, s, _ media.Store) {
	key, last := newKey(), ""
	for i := range 50 { // as fast as it goes, with contents of one size
		version := write(t, s, key, string([]byte{byte(i)}), media.Any)
		if version == last {
			t.Fatalf("version %q twice", version)
		}
		last = version
	}
}

// A removed video is gone with all that was below it, a repeat is harmless, and so is what somebody has begun to write since.
func testArchive(t *testing.T, s, again media.Store) {
	var ids []vault.VideoID
	for range 3 {
		ids = append(ids, vault.NewVideoID())
		for _, key := range keysOf(ids[len(ids)-1]) {
			write(t, s, key, "x", media.Any)
		}
	}
	wantVideos(t, again, ids, true)
	archive, other := s.(media.Archive), again.(media.Archive)
	gone := ids[1]
	for range 2 {
		if err := archive.HideVideo(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		if _, _, err := again.Read(t.Context(), media.MetaKey(gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the record of a hidden video: %v", err)
		}
		if err := other.RemoveVideo(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		for _, key := range keysOf(gone) {
			if _, err := s.Stamp(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of a removed video: %v", key, err)
			}
		}
		wantVideos(t, s, []vault.VideoID{gone}, false)
		write(t, again, keysOf(gone)[2], "late", media.Any)
	}
	for range 2 {
		if err := errors.Join(other.HideVideo(t.Context(), gone), archive.RemoveVideo(t.Context(), gone)); err != nil {
			t.Fatal(err)
		}
	}
	wantVideos(t, s, []vault.VideoID{ids[0], ids[2]}, true)
	wantVideos(t, s, []vault.VideoID{gone}, false)
	if err := archive.HideVideo(t.Context(), vault.NewVideoID()); err != nil {
		t.Errorf("a video that never was: %v", err)
	}
}

func keysOf(id vault.VideoID) []string {
	return []string{media.MetaKey(id), media.OriginalKey(id), media.HLSKey(id, media.MasterPlaylist), media.VideoKey(id) + "/.split-1/plan.json"}
}

func wantVideos(t *testing.T, s media.Store, ids []vault.VideoID, there bool) {
	t.Helper()
	all, err := s.(media.Archive).VideoIDs(t.Context())
	if err != nil || !slices.IsSorted(all) {
		t.Fatalf("%v, %v", all, err)
	}
	for _, id := range ids {
		if slices.Contains(all, id) != there {
			t.Errorf("video %s is listed: %v, want %v", id, !there, there)
		}
	}
}
