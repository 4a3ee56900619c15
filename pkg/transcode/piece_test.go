package transcode_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/transcode"
	"pulsevault/pkg/vault"
)

// tasks are a queue in memory, on which any number of workers may work.
type tasks struct {
	mu    sync.Mutex
	known map[string]bool
	list  []vault.Task
	busy  int // workers that are at a task
	done  []vault.Task
}

func (q *tasks) enqueue(_ context.Context, t vault.Task) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := t.Validate(); err != nil {
		return err
	}
	if q.known == nil {
		q.known = map[string]bool{}
	}
	if !q.known[t.ID()] {
		q.known[t.ID()] = true
		q.list = append(q.list, t)
	}
	return nil
}

// take takes the first task, if there is one.
func (q *tasks) take() (t vault.Task, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeAt(0)
}

// takeAt takes a task, if there are any. The lock is held.
func (q *tasks) takeAt(i int) (t vault.Task, ok bool) {
	if len(q.list) == 0 {
		return t, false
	}
	t = q.list[i]
	q.list = slices.Delete(q.list, i, i+1)
	return t, true
}

// next takes the first task for a worker, or the last. While others are at theirs, of which more may come, it waits.
func (q *tasks) next(last bool) (t vault.Task, ok bool) {
	for ; ; time.Sleep(time.Millisecond) {
		q.mu.Lock()
		i := 0
		if last {
			i = len(q.list) - 1
		}
		if t, ok = q.takeAt(i); ok {
			q.busy++
		}
		idle := q.busy == 0
		q.mu.Unlock()
		if ok || idle {
			return t, ok
		}
	}
}

// finish ends what next has begun.
func (q *tasks) finish(t vault.Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.busy--
	delete(q.known, t.ID())
	q.done = append(q.done, t)
}

// did are the kinds of the tasks that are done, in their order.
func (q *tasks) did(kind vault.TaskType) (n int) {
	for _, t := range q.done {
		if t.Type == kind {
			n++
		}
	}
	return n
}

// perform does a task as package app does.
func (w *world) perform(ctx context.Context, t vault.Task, final bool) error {
	switch t.Type {
	case vault.TranscodePiece:
		return w.Piece(ctx, t, final)
	case vault.JoinPieces:
		return w.Join(ctx, t, final)
	}
	return w.Transcode(ctx, t.VideoID, final)
}

// inPieces has videos split into pieces of so many seconds, and returns the queue of their tasks.
func (w *world) inPieces(seconds float64) *tasks {
	q := &tasks{}
	w.PieceSeconds, w.Enqueue = seconds, q.enqueue
	return q
}

// work has workers do all tasks.
func (w *world) work(q *tasks, workers int) {
	w.t.Helper()
	var all sync.WaitGroup
	for n := range workers {
		all.Go(func() {
			for {
				task, ok := q.next(n%2 == 1)
				if !ok {
					return
				}
				if err := w.perform(w.t.Context(), task, false); err != nil {
					w.t.Errorf("%s: %v", task.ID(), err)
				}
				q.finish(task)
			}
		})
	}
	all.Wait()
}

// stamps are the time stamps of a rendition's packets, of picture or sound, with the sizes of those of sound.
func stamps(t *testing.T, playlist, kind string) string {
	t.Helper()
	what := "packet=pts"
	if kind == "a" {
		what = "packet=pts,size"
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", kind, "-show_entries", what, "-of", "csv=p=0", playlist).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// A long video comes out of pieces as it does of one run: the same pictures at the same times, and the very same sound.
func TestPiecesAreAsTheWhole(t *testing.T) {
	source := func(t *testing.T) string {
		return clip(t, "x.mp4", join(picture("640x360", "30000/1001", 40), sound(40), h264(), aac(), []string{"-b:v", "3M", "-g", "77", "-bf", "2"})...)
	}
	for name, tc := range map[string]struct {
		contentType string
		path        func(t *testing.T) string
		best        int // bits per second of 360p
		renditions  string
		rounds      int // of pieces
	}{
		"copied first": {"video/mp4", source, 800_000, "[360p 240p]", 1},
		"copied rung":  {"video/mp4", source, 8_000_000, "[360p 240p]", 1},
		"lowest rung first": {"video/matroska", func(t *testing.T) string {
			return clip(t, "x.mkv", join(picture("640x360", "25", 38), sound(39), []string{"-c:v", "mpeg4", "-g", "60", "-q:v", "4", "-c:a", "libvorbis"})...)
		}, 8_000_000, "[360p 240p]", 2},
		"transport stream": {"video/mp2t", func(t *testing.T) string {
			return clip(t, "x.ts", join(picture("320x240", "50", 31), sound(31), []string{"-c:v", "mpeg2video", "-g", "15", "-bf", "2", "-c:a", "mp2"})...)
		}, 0, "[240p]", 1},
		"varying rate, no sound": {"video/mp4", func(t *testing.T) string {
			return clip(t, "x.mp4", join(picture("320x240", "30", 32), []string{"-vf", "select='not(between(mod(n,40),3,30))'", "-vsync", "vfr"}, h264(), []string{"-g", "10000"})...)
		}, 0, "[240p]", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tc.path(t)
			whole, pieces := newWorld(t), newWorld(t)
			// At such a bit rate no picture looks like the next one.
			whole.Ladder = []transcode.Rung{{"240p", 240, 20_000_000, 64_000}, {"360p", 360, tc.best, 96_000}}
			pieces.Ladder = whole.Ladder
			one, other := whole.add(path, tc.contentType), pieces.add(path, tc.contentType)
			if err := whole.Transcode(t.Context(), one, false); err != nil {
				t.Fatal(err)
			}
			q := pieces.inPieces(13)
			_ = q.enqueue(t.Context(), vault.Task{Type: vault.TranscodeVideo, VideoID: other})
			pieces.work(q, 3)
			v, want := pieces.get(other), whole.get(one)
			if v.Status != vault.Transcoded || fmt.Sprint(v.Renditions) != tc.renditions || v.Duration != want.Duration || v.TranscodeDuration <= 0 {
				t.Fatalf("recorded %+v, want %+v", v, want)
			}
			if n := q.did(vault.JoinPieces); n != tc.rounds {
				t.Errorf("joined %d times", n)
			}
			joined := strings.Fields(variants(t, pieces.hls(other)))
			for i, of := range strings.Fields(variants(t, whole.hls(one))) {
				for _, kind := range []string{"v", "a"} {
					got, want := stamps(t, filepath.Join(pieces.hls(other), joined[i]), kind), stamps(t, filepath.Join(whole.hls(one), of), kind)
					if got != want {
						t.Errorf("%s: the time stamps of %s differ: %d lines, want %d", of, kind, strings.Count(got, "\n"), strings.Count(want, "\n"))
					}
				}
			}
			wantLint(t, pieces.hls(other))
			wantSamePictures(t, filepath.Join(whole.hls(one), "240p.m3u8"), filepath.Join(pieces.hls(other), "240p.m3u8"))
			pieces.wantNothingLeft(other)
			if left, _ := filepath.Glob(filepath.Join(pieces.folder(other), ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// wantSamePictures compares each picture of two encodings: none is shown twice, or is missing, or is another.
func wantSamePictures(t *testing.T, one, other string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-i", one, "-i", other, "-lavfi",
		"[0:v]setpts=N[one];[1:v]setpts=N[other];[one][other]psnr=stats_file=-:shortest=1", "-f", "null", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		var psnr float64
		if _, value, ok := strings.Cut(line, "psnr_avg:"); ok && !strings.HasPrefix(value, "inf") {
			if _, err := fmt.Sscanf(value, "%f", &psnr); err != nil || psnr < 36 {
				t.Errorf("picture %d: %v dB", n, psnr)
			}
		}
		n++
	}
	if n < 700 {
		t.Errorf("%d pictures compared", n)
	}
}

// A worker is killed in the middle of a piece: what it leaves costs that piece, and the sweep cleans it up.
func TestAKilledWorkerCostsOnePiece(t *testing.T) {
	w := newWorld(t)
	q := w.inPieces(7)
	id := w.add(clip(t, "x.mp4", join(picture("320x240", "25", 20), sound(20), h264(), aac(), []string{"-g", "50", "-b:v", "2M"})...), "video/mp4")
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	killed := filepath.Join(w.folder(id), ".work-1-dead")
	if err := errors.Join(os.Mkdir(killed, 0o750), os.WriteFile(filepath.Join(killed, "240p.mp4"), nil, 0o640)); err != nil {
		t.Fatal(err)
	}
	var first vault.Task
	for range 2 {
		first, _ = q.take()
		if err := w.perform(t.Context(), first, false); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := w.Clean(id); n != 1 || err != nil {
		t.Errorf("%d folders cleaned, %v", n, err)
	}
	if _, err := os.Stat(killed); err == nil {
		t.Error("the dead worker's folder is still there")
	}
	wanted, err := w.Wants(t.Context(), id)
	if err != nil || len(wanted) != 2 || wanted[0].Piece != 3 {
		t.Errorf("wanted are %v, %v", wanted, err)
	}
	// The queue was lost, too, and a worker that was taken for dead comes back with what is there already.
	*q = tasks{}
	if err := w.perform(t.Context(), first, false); err != nil {
		t.Error(err)
	}
	_ = q.enqueue(t.Context(), vault.Task{Type: vault.TranscodeVideo, VideoID: id})
	w.work(q, 2)
	if v := w.get(id); v.Status != vault.Transcoded || v.Attempt != 1 {
		t.Errorf("recorded %+v", v)
	}
	w.wantNothingLeft(id)
	w.wantResults(map[string]float64{"success": 1})
}

// The last two pieces are done at the same time, and both workers have the pieces joined; and then joining is done twice.
func TestJoinedOnce(t *testing.T) {
	w := newWorld(t)
	q := w.inPieces(7)
	id := w.add(clip(t, "x.mp4", join(picture("320x240", "25", 20), h264(), []string{"-g", "50", "-b:v", "2M"})...), "video/mp4")
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		task, _ := q.take()
		all.Go(func() {
			if err := w.perform(t.Context(), task, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	joining, ok := q.take()
	if _, more := q.take(); !ok || more || joining.Type != vault.JoinPieces {
		t.Fatalf("queued: %v, more %v", joining, more)
	}
	for range 2 {
		all.Go(func() {
			if err := w.perform(t.Context(), joining, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if v := w.get(id); v.Status != vault.Transcoded || len(w.told.events) != 1 || fmt.Sprint(w.told.counted) != "[true]" {
		t.Errorf("recorded %+v, audit %v, counted %v", v, w.told.events, w.told.counted)
	}
	wantPlayable(t, w.hls(id), "320x240", false, 20)
	w.wantNothingLeft(id)
	last := 0.0
	for _, p := range w.told.progress {
		if p < last {
			t.Errorf("progress goes back: %v", w.told.progress)
		}
		last = p
	}
}

// A piece that fails for good makes the video fail, once, and the others stop for it.
func TestAPieceThatFails(t *testing.T) {
	w := newWorld(t)
	q := w.inPieces(7)
	id := w.add(clip(t, "x.mp4", join(picture("320x240", "25", 20), h264(), []string{"-g", "50", "-b:v", "2M"})...), "video/mp4")
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	task, _ := q.take()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "ffmpeg"), []byte("#!/bin/sh\necho 'No space left on device' >&2; exit 1\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	good := os.Getenv("PATH")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+good)
	if err := w.perform(t.Context(), task, false); err == nil || vault.KindOf(err) == vault.Unprocessable {
		t.Errorf("error %v", err)
	}
	if v := w.get(id); v.Status != vault.Transcoding {
		t.Errorf("after a try that failed: %+v", v)
	}
	if err := w.perform(t.Context(), task, true); vault.KindOf(err) != vault.Unprocessable {
		t.Errorf("error of the final try: %v", err)
	}
	t.Setenv("PATH", good)
	v := w.get(id)
	if v.Status != vault.TranscodeFailed || !strings.Contains(v.TranscodeError, "disk was full") || w.marked(id) {
		t.Errorf("recorded %+v", v)
	}
	w.work(q, 1)
	w.wantNothingLeft(id)
	// What plays goes on to play, and a retry starts again.
	if got := variants(t, w.hls(id)); got != "source.m3u8" {
		t.Errorf("published %s", got)
	}
	_ = q.enqueue(t.Context(), vault.Task{Type: vault.TranscodeVideo, VideoID: id})
	w.work(q, 1)
	if v := w.get(id); v.Status != vault.Transcoded || v.Attempt != 2 || v.TranscodeError != "" {
		t.Errorf("after a retry: %+v", v)
	}
	wantPlayable(t, w.hls(id), "320x240", false, 20)
	w.wantNothingLeft(id)
}

// Two recordings in one file, each with a clock of its own: a time leads to two places.
func TestAClockThatJumpsIsNotSplit(t *testing.T) {
	one, err := os.ReadFile(clip(t, "x.ts", join(picture("320x240", "25", 10), []string{"-c:v", "mpeg2video"})...))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "two.ts")
	if err := os.WriteFile(path, slices.Concat(one, one), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	q := w.inPieces(7)
	id := w.add(path, "video/mp2t")
	if err := w.Transcode(t.Context(), id, false); err != nil {
		t.Fatal(err)
	}
	if v := w.get(id); v.Status != vault.Transcoded || math.Abs(v.Duration-20) > 0.1 || len(q.list) > 0 {
		t.Errorf("recorded %+v, queued %v", v, q.list)
	}
}
