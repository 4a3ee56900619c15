package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/hls"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
)

// backup takes a snapshot, which must succeed, and returns its folder.
func takeBackup(t *testing.T, root, to string, more ...string) (folder string) {
	t.Helper()
	code, out := run(t, root, nil, append([]string{"backup", to}, more...)...)
	if code != 0 {
		t.Fatalf("backup: exit status %d\n%s", code, out)
	}
	line, _, _ := strings.Cut(out[strings.Index(out, "snapshot"):], "\n")
	return strings.TrimSpace(strings.TrimPrefix(line, "snapshot"))
}

func restoreBackup(t *testing.T, from string) (root string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "restored")
	if code, out := run(t, root, nil, "restore", from); code != 0 {
		t.Fatalf("restore: exit status %d\n%s", code, out)
	}
	return root
}

func auditKey(t *testing.T, root string) string {
	t.Helper()
	code, out := run(t, root, nil, "audit", "key")
	if code != 0 {
		t.Fatal(out)
	}
	return strings.TrimSpace(out)
}

// wantConsistent looks at a store on which nothing runs: every record speaks of bytes that are there and are those, what plays
// is whole, whatever is to be done has somebody who hears of it, and the log verifies with the key.
func wantConsistent(t *testing.T, root, key string) (videos map[string]vault.Video, uploads map[string]vault.Upload) {
	t.Helper()
	videos, uploads = map[string]vault.Video{}, map[string]vault.Upload{}
	records, _ := filepath.Glob(filepath.Join(root, "uploads", "*.json"))
	for _, path := range records {
		var u vault.Upload
		if err := json.Unmarshal(mustRead(t, path), &u); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		uploads[string(u.UploadID)] = u
	}
	folders, _ := filepath.Glob(filepath.Join(root, "videos", "*"))
	for _, folder := range folders {
		id := filepath.Base(folder)
		marker, markErr := os.ReadFile(filepath.Join(root, "pending", id))
		meta, err := os.ReadFile(filepath.Join(folder, "meta.json"))
		if errors.Is(err, fs.ErrNotExist) {
			if u := uploads[string(marker)]; markErr != nil || u.Finalize == nil || u.Finalized {
				t.Errorf("video %s has no record, and nobody would finish it: marker %q, %v, finalized %v", id, marker, markErr, u.Finalized)
			}
			continue
		}
		v, err := metadata.Unmarshal(meta)
		if err != nil {
			t.Errorf("video %s: %v", id, err)
			continue
		}
		videos[id] = v
		sum := sha256.Sum256(mustRead(t, filepath.Join(folder, "original.mp4")))
		if hex.EncodeToString(sum[:]) != v.OriginalChecksum {
			t.Errorf("video %s: the original is not that of its record", id)
		}
		if v.Status != vault.Transcoded && v.Status != vault.TranscodeFailed && markErr != nil {
			t.Errorf("video %s is %s, and nobody hears that it wants work: %v", id, v.Status, markErr)
		}
		wantSegments(t, folder, v.Status == vault.Transcoded)
	}
	wantUploads(t, root, videos, uploads)
	if code, out := run(t, root, nil, "audit", "verify", "--dir", filepath.Join(root, "audit"), "--key", key); code != 0 {
		t.Errorf("audit verify: exit status %d\n%s", code, out)
	}
	return videos, uploads
}

// wantUploads holds the records of uploads against their bytes.
func wantUploads(t *testing.T, root string, videos map[string]vault.Video, uploads map[string]vault.Upload) {
	t.Helper()
	for id, u := range uploads {
		content, err := os.ReadFile(filepath.Join(root, "uploads", id))
		_, stored := videos[string(u.VideoID)]
		if _, folder := os.Stat(filepath.Join(root, "videos", string(u.VideoID))); folder == nil {
			stored = true
		}
		switch _, intended := os.Stat(filepath.Join(root, "pending", "deletions", string(u.VideoID))); {
		case u.Deleted || intended == nil:
		case err != nil && !stored:
			t.Errorf("upload %s (finalized %v) has neither bytes nor a video: %v", id, u.Finalized, err)
		case err == nil && u.Finalized:
			t.Errorf("upload %s is finalized and has bytes still", id)
		case err == nil:
			want, err := upload.Checksum(u)
			if sum := sha256.Sum256(content); err != nil || int64(len(content)) != u.Offset || hex.EncodeToString(sum[:]) != want {
				t.Errorf("upload %s: %d bytes with another hash than its record says of %d: %v", id, len(content), u.Offset, err)
			}
		}
	}
}

// wantSegments fails the test if a playlist leads to a file that is not there, or is none.
func wantSegments(t *testing.T, folder string, must bool) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(folder, "hls", "master.m3u8")); err != nil {
		if must {
			t.Errorf("%s is transcoded and has no master playlist: %v", filepath.Base(folder), err)
		}
		return
	}
	source, err := hls.NewSource(filepath.Join(folder, "hls"))
	if err != nil {
		t.Error(err)
		return
	}
	if report, err := hls.Lint(t.Context(), source); err != nil || must && !report.OK() {
		t.Errorf("%s: %v, %v", filepath.Base(folder), err, report.Failed())
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return data
}

// Snapshots are taken again and again while clients upload in pieces, finalize, delete, give up and watch, and a worker
// transcodes, partly in pieces. Each of them is brought back into a store that is consistent, tells of everything that was
// acknowledged before it was begun, and in which no video lives that was deleted before.
func TestBackupOfALivingStore(t *testing.T) {
	root, to := t.TempDir(), t.TempDir()
	server := start(t, "serve", root, "WORKER_CONCURRENCY=2", "PIECE_SECONDS=7")
	key := auditKey(t, root)
	clips := [][]byte{mustRead(t, shortClip(t)), mustRead(t, longClip(t, 15))}
	traffic := &traffic{t: t, url: server.url, clips: clips}
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { traffic.goOn(done) })
	}
	type taken struct {
		folder        string
		made, deleted []string
	}
	var all []taken
	for range 8 {
		time.Sleep(700 * time.Millisecond)
		made, deleted := traffic.sofar()
		all = append(all, taken{takeBackup(t, root, to), made, deleted})
	}
	close(done)
	clients.Wait()
	server.stop()
	open, transcoding := 0, 0
	for _, one := range all {
		if code, out := run(t, root, nil, "backup", "verify", one.folder, "--key", key); code != 0 {
			t.Errorf("backup verify: exit status %d\n%s", code, out)
		}
		videos, uploads := wantConsistent(t, restoreBackup(t, one.folder), key)
		for _, id := range one.deleted {
			if _, there := videos[id]; there {
				t.Errorf("%s: video %s was deleted before", one.folder, id)
			}
		}
		for _, id := range one.made {
			_, there := videos[id]
			if _, later := traffic.deletions.Load(id); !there && !later {
				t.Errorf("%s: video %s was finalized before", one.folder, id)
			}
		}
		for _, v := range videos {
			if v.Status == vault.Transcoding {
				transcoding++
			}
		}
		for _, u := range uploads {
			if u.Finalize == nil {
				open++
			}
		}
	}
	t.Logf("%d uploads were open in these snapshots, %d videos being transcoded, of %d", open, transcoding, len(traffic.made))
	if open == 0 || transcoding == 0 {
		t.Error("the snapshots were not taken in the middle of anything")
	}
	wantGoesOn(t, all[len(all)-1].folder)
}

// wantGoesOn starts a server on what a snapshot holds. It completes all of it: every video comes to its end and plays.
func wantGoesOn(t *testing.T, folder string) {
	t.Helper()
	root := restoreBackup(t, folder)
	videos, _ := wantConsistent(t, root, auditKeyOf(t, folder))
	if len(videos) == 0 {
		t.Fatal("no videos")
	}
	server := start(t, "serve", root, "RENDITIONS=240p")
	c := client{t, server.url}
	for id := range videos {
		if _, err := os.Stat(filepath.Join(root, "pending", "deletions", id)); err == nil {
			continue
		}
		c.await(id, "transcoded")
		c.wantPlays(id)
	}
	server.stop()
	verifyAudit(t, root)
}

// auditKeyOf reads a snapshot's manifest.
func auditKeyOf(t *testing.T, folder string) string {
	t.Helper()
	var header struct{ AuditKey string }
	first, _, _ := bytes.Cut(mustRead(t, filepath.Join(folder, "manifest")), []byte("\n"))
	if err := json.Unmarshal(first, &header); err != nil {
		t.Fatal(err)
	}
	return header.AuditKey
}

// traffic is what clients do all day.
type traffic struct {
	t     *testing.T
	url   string
	clips [][]byte

	mu        sync.Mutex
	made      []string // videos whose finalize was answered
	deleted   []string // and those whose deletion was
	deletions sync.Map // those that somebody has begun to delete
}

func (w *traffic) sofar() (made, deleted []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.made), slices.Clone(w.deleted)
}

func (w *traffic) goOn(done <-chan struct{}) {
	c := client{w.t, w.url}
	for {
		select {
		case <-done:
			return
		default:
		}
		content := w.clips[rand.N(len(w.clips))]
		location, err := c.create(len(content))
		if err == nil {
			_, err = c.resume(location, content, len(content)/10)
		}
		if err == nil && rand.N(8) == 0 {
			_, err = c.try("DELETE", location, nil, "Tus-Resumable", "1.0.0")
			if err == nil {
				continue
			}
		}
		id := ""
		if err == nil {
			id, err = c.finalize(location)
		}
		if err != nil {
			w.t.Error(err)
			return
		}
		w.mu.Lock()
		w.made = append(w.made, id)
		w.mu.Unlock()
		_ = c.sign(id, "metadata")
		if rand.N(3) == 0 {
			w.delete(c)
		}
		time.Sleep(rand.N(150 * time.Millisecond))
	}
}

// delete deletes any video that there is.
func (w *traffic) delete(c client) {
	made, _ := w.sofar()
	id := made[rand.N(len(made))]
	if _, again := w.deletions.LoadOrStore(id, true); again {
		return
	}
	a, err := c.try("DELETE", "/videos/"+id, nil)
	if err != nil || a.status != 204 {
		w.t.Errorf("delete %s: %v, %d %s", id, err, a.status, a.body)
		return
	}
	w.mu.Lock()
	w.deleted = append(w.deleted, id)
	w.mu.Unlock()
}

// smallStore is a folder with one video that is done, on which nothing runs.
func smallStore(t *testing.T) (root, videoID string) {
	t.Helper()
	root = t.TempDir()
	server := start(t, "serve", root, "RENDITIONS=240p")
	c := client{t, server.url}
	videoID = c.send(shortClip(t))
	c.await(videoID, "transcoded")
	server.stop()
	return root, videoID
}

// A backup that is killed at any of its steps is no snapshot, and the next one is whole; so it is with a restore, on which no
// server starts before it is done.
func TestBackupAndRestoreAreKilled(t *testing.T) {
	root, id := smallStore(t)
	key, to := auditKey(t, root), t.TempDir()
	for _, arrow := range []string{"backup/begun", "backup/video", "backup/audit", "backup/copied", "backup/listed"} {
		if code, out := run(t, root, []string{"PULSEVAULT_FAILPOINT=" + arrow}, "backup", to); code != -1 {
			t.Fatalf("it was not killed at %s: %d %s", arrow, code, out)
		}
		if code, out := run(t, filepath.Join(t.TempDir(), "none"), nil, "restore", to); code != 1 && arrow == "backup/begun" {
			t.Errorf("what was cut off at %s is restored: %s", arrow, out)
		}
	}
	folder := takeBackup(t, root, to)
	if left, _ := filepath.Glob(filepath.Join(to, ".unfinished-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	target := filepath.Join(t.TempDir(), "restored")
	for _, arrow := range []string{"restore/file", "restore/copied", "restore/recorded"} {
		if code, out := run(t, target, []string{"PULSEVAULT_FAILPOINT=" + arrow}, "restore", folder); code != -1 {
			t.Fatalf("it was not killed at %s: %d %s", arrow, code, out)
		}
		if code, out := run(t, target, nil, "serve"); code != 1 || !strings.Contains(out, "restore again") {
			t.Errorf("a server on a part of a store: %d %s", code, out)
		}
	}
	if code, out := run(t, target, nil, "restore", folder); code != 0 {
		t.Fatalf("restore again: %d %s", code, out)
	}
	if videos, _ := wantConsistent(t, target, key); len(videos) != 1 || videos[id].Status != vault.Transcoded {
		t.Errorf("videos %v", videos)
	}
	if code, out := run(t, target, nil, "restore", folder); code != 1 || !strings.Contains(out, "not empty") {
		t.Errorf("restore over a store: %d %s", code, out)
	}
}

// A bit that flips in a snapshot is found by verifying and left out by restoring; a snapshot that is taken --fresh has none of it.
func TestBackupFindsAFlippedBit(t *testing.T) {
	root, id := smallStore(t)
	to := t.TempDir()
	folder := takeBackup(t, root, to)
	second := takeBackup(t, root, to)
	original := func(folder string) string { return filepath.Join(folder, "media", "videos", id, "original.mp4") }
	a, errA := os.Stat(original(folder))
	b, errB := os.Stat(original(second))
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("the second snapshot has a copy of its own: %v %v", errA, errB)
	}
	data := mustRead(t, original(second))
	data[len(data)/2] ^= 1
	if err := os.Chmod(original(second), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(original(second), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := run(t, root, nil, "backup", "verify", to); code != 1 || !strings.Contains(out, "original.mp4 is damaged") {
		t.Errorf("verify: %d %s", code, out)
	}
	target := filepath.Join(t.TempDir(), "restored")
	if code, out := run(t, target, nil, "restore", to); code != 1 || !strings.Contains(out, "original.mp4 is missing") {
		t.Errorf("restore: %d %s", code, out)
	}
	fresh := takeBackup(t, root, to, "--fresh", "--keep=1")
	if code, out := run(t, root, nil, "backup", "verify", fresh); code != 0 {
		t.Errorf("verify: %d %s", code, out)
	}
	if entries, _ := filepath.Glob(filepath.Join(to, "2*")); len(entries) != 1 {
		t.Errorf("kept: %v", entries)
	}
}

func TestBackupOfABucketSaysWhatToUse(t *testing.T) {
	settings := []string{"STORAGE=s3", "S3_BUCKET=clinic", "S3_REGION=eu-central-1", "REDIS_HOST=127.0.0.1"}
	for _, args := range [][]string{{"backup", t.TempDir()}, {"restore", t.TempDir()}} {
		if code, out := run(t, t.TempDir(), settings, args...); code != 1 || !strings.Contains(out, "versioning") {
			t.Errorf("%v: %d %s", args, code, out)
		}
	}
}

// The script with which operators show that their backups can be restored: it passes, and fails on a damaged one.
func TestRestoreDrill(t *testing.T) {
	root, id := smallStore(t)
	to := t.TempDir()
	folder := takeBackup(t, root, to)
	script, err := filepath.Abs("../restore-drill.sh")
	if err != nil {
		t.Fatal(err)
	}
	drill := func() ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "bash", script, to)
		cmd.Dir = t.TempDir()
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + t.TempDir(), "PULSEVAULT=" + binary, "AUDIT_KEY=" + auditKey(t, root)}
		return cmd.CombinedOutput()
	}
	if out, err := drill(); err != nil || !bytes.Contains(out, []byte("video "+id+" plays to its end")) {
		t.Errorf("%v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(folder, "media", "videos", id, "hls", "master.m3u8")); err != nil {
		t.Fatal(err)
	}
	if out, err := drill(); err == nil {
		t.Errorf("it passes on a damaged backup:\n%s", out)
	}
}
