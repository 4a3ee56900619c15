//go:build unix

package transcode_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/vault"
)

// stumbling puts a program in the place of ffmpeg that does as ffmpeg does, but for pictures of key frames: there it runs a
// script.
func stumbling(t *testing.T, script string) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	folder := t.TempDir()
	program := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in\n*thumb_*) %s ;;\nesac\nexec %s \"$@\"\n", script, ffmpeg)
	if err := os.WriteFile(filepath.Join(folder, "ffmpeg"), []byte(program), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// A preview that ffmpeg cannot make is no failure of the video, and the log says what ffmpeg said.
func TestPreviewThatCannotBeMade(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), mp4)
	stumbling(t, "echo the lens is dirty >&2; exit 1")
	var log bytes.Buffer
	w.Log = slog.New(slog.NewTextHandler(&log, nil))
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if v := w.get(id); v.Status != vault.Transcoded || !strings.Contains(log.String(), "the lens is dirty") {
		t.Errorf("recorded %+v, logged\n%s", v, &log)
	}
	w.wantNoPreview(id)
	w.wantNothingLeft(id)
}

// wantNoPreview fails the test if anything of a preview was published.
func (w *world) wantNoPreview(id vault.VideoID) {
	w.t.Helper()
	for _, pattern := range []string{"*.jpg", "*.vtt"} {
		if files, _ := filepath.Glob(filepath.Join(w.folder(id), pattern)); len(files) > 0 {
			w.t.Errorf("published %v", files)
		}
	}
}

// A worker that stops while ffmpeg makes pictures gives the video back at once.
func TestPreviewEndsWithItsWorker(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), mp4)
	begun := filepath.Join(t.TempDir(), "begun")
	stumbling(t, "touch "+begun+"; exec sleep 300")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		awaitBegun(begun)
		cancel()
	}()
	if err := w.Transcode(ctx, id, true); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if v := w.get(id); v.Status != vault.Uploaded {
		t.Errorf("recorded %+v", v)
	}
	w.wantResults(map[string]float64{"given_back": 1})
	w.wantNoPreview(id)
	w.wantNothingLeft(id)
}

func awaitBegun(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// An attempt that is overtaken while ffmpeg makes pictures publishes none.
func TestPreviewOfAnOvertakenAttempt(t *testing.T) {
	w := newWorld(t)
	id := w.add(short(t), mp4)
	begun, goOn := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "goon")
	stumbling(t, fmt.Sprintf("touch %s; while [ ! -e %s ]; do sleep 0.01; done", begun, goOn))
	go func() {
		awaitBegun(begun)
		w.set(id, func(v *vault.Video) { v.Attempt = 2 })
		if err := os.WriteFile(goOn, nil, 0o600); err != nil {
			t.Error(err)
		}
	}()
	if err := w.Transcode(t.Context(), id, true); err != nil {
		t.Errorf("error %v: it would be tried again", err)
	}
	if v := w.get(id); v.Status != vault.Transcoding || v.Attempt != 2 {
		t.Errorf("recorded %+v", v)
	}
	w.wantNoPreview(id)
	w.wantNothingLeft(id)
}
