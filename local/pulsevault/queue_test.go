package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// listed is what queue --json says.
type listed struct {
	Queues []struct{ Queue string }
	Tasks  []struct {
		State, ID, VideoID, Filename, LastError string
		Tries, MaxTries                         int
	}
}

func listTasks(t *testing.T, root string) (l listed) {
	t.Helper()
	code, out, log := invoke(t, []string{"MEDIA_ROOT=" + root}, "queue", "--json")
	if err := json.Unmarshal(out, &l); err != nil || code != 0 || len(l.Queues) != 2 {
		t.Fatalf("exit status %d, %v: %s\n%s", code, err, out, log)
	}
	return l
}

// wantSays runs a queue command and wants an exit status and words.
func wantSays(t *testing.T, root string, status int, says string, args ...string) {
	t.Helper()
	if code, out := run(t, root, nil, append([]string{"queue"}, args...)...); code != status || !strings.Contains(out, says) {
		t.Errorf("queue %s: exit status %d, want %d and %q:\n%s", strings.Join(args, " "), code, status, says, out)
	}
}

// A video whose original was unreadable for a while fails, is seen among the dead, and is transcoded once it is retried.
func TestAFailedVideoIsRetried(t *testing.T) {
	root := t.TempDir()
	wantSays(t, root, 1, "serve") // no Redis is there yet
	c := client{t, start(t, "serve", root, "WORKER_CONCURRENCY=0").url}
	id := c.send(shortClip(t))
	if tasks := listTasks(t, root).Tasks; len(tasks) != 1 || tasks[0].State != "waiting" || tasks[0].VideoID != id || tasks[0].Filename != "clip.mp4" {
		t.Errorf("listed %+v", tasks)
	}
	wantSays(t, root, 1, "waiting for a worker", "retry", id)
	original := filepath.Join(root, "videos", id, "original.mp4")
	good, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(original, asVideo(make([]byte, 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "worker", root)
	c.await(id, "transcode_failed")
	awaitTask(t, root, "dead")
	tasks := listTasks(t, root).Tasks
	if tasks[0].Tries != 1 || tasks[0].MaxTries != 4 || !strings.Contains(tasks[0].LastError, "damaged") {
		t.Errorf("listed %+v", tasks)
	}
	wantSays(t, root, 0, "damaged")
	wantSays(t, root, 1, "failed already", "cancel", id)
	if err := os.WriteFile(original, good, 0o600); err != nil {
		t.Fatal(err)
	}
	wantSays(t, root, 0, "1 videos are queued again", "retry", "--all-dead")
	awaitStatus(c, id, "transcoded")
	c.wantPlays(id)
	wantSays(t, root, 1, "is transcoded", "retry", tasks[0].ID)
	wantSays(t, root, 1, "is transcoded", "cancel", id)
	wantSays(t, root, 1, "neither a video", "retry", "nothing")
	wantSays(t, root, 1, "--all-dead", "retry")
	if left := listTasks(t, root).Tasks; len(left) != 0 {
		t.Errorf("left %+v", left)
	}
	wantOnce(t, root, "video.retried")
	verifyAudit(t, root)
}

// Cancelled videos fail with that reason, waiting or worked on, are not tried again by themselves, and can be retried.
func TestACancelledVideo(t *testing.T) {
	root := t.TempDir()
	c := client{t, start(t, "serve", root, "WORKER_CONCURRENCY=0").url}
	waits := c.send(shortClip(t))
	wantSays(t, root, 0, "cancelled", "cancel", waits)
	wantCancelled(t, c, root, waits)

	endless := endlessFFmpeg(t)
	worker := start(t, "worker", root, "PATH="+endless+":"+os.Getenv("PATH"))
	runs := c.send(shortClip(t))
	awaitTask(t, root, "running")
	awaitStatus(c, runs, "transcoding")
	wantSays(t, root, 1, "being worked on", "retry", runs)
	wantSays(t, root, 0, ": cancelled\n", "cancel", "transcode:"+runs)
	wantCancelled(t, c, root, runs)
	wantNoOrphans(t, root)
	if left := listTasks(t, root).Tasks; len(left) != 0 {
		t.Errorf("left %+v", left)
	}
	worker.stop()
	wantCancelled(t, c, root, runs) // also after the worker has let go
	start(t, "worker", root)
	wantSays(t, root, 0, "queued again", "retry", runs)
	awaitStatus(c, runs, "transcoded")
	if status := c.status(waits); status != "transcode_failed" {
		t.Errorf("the other one is %s", status)
	}
	verifyAudit(t, root)
}

func wantCancelled(t *testing.T, c client, root, id string) {
	t.Helper()
	record := c.do(200, "GET", c.sign(id, "metadata"), nil)
	if !strings.Contains(string(record.body), "cancelled by the operator") || c.status(id) != "transcode_failed" {
		t.Errorf("the record is %s", record.body)
	}
	if _, err := os.Stat(filepath.Join(root, "pending", id)); !os.IsNotExist(err) {
		t.Errorf("its marker: %v", err)
	}
}

// endlessFFmpeg is a folder with an ffmpeg that never gets done with encoding.
func endlessFFmpeg(t *testing.T) string {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \"$*\" in *-c:v*|*-f\\ hls*|*segment*) exec sleep 600 ;; esac\nexec " + ffmpeg + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return dir
}

// awaitTask waits until the one task is in a state.
func awaitTask(t *testing.T, root, state string) {
	t.Helper()
	is := func() bool {
		tasks := listTasks(t, root).Tasks
		return len(tasks) == 1 && tasks[0].State == state
	}
	if !comesTrue(is) {
		t.Fatalf("no task is %s: %+v", state, listTasks(t, root).Tasks)
	}
}

// awaitStatus waits for a status, whatever it is before.
func awaitStatus(c client, id, want string) {
	c.t.Helper()
	if !comesTrue(func() bool { return c.status(id) == want }) {
		c.t.Fatalf("the video is %s, want %s", c.status(id), want)
	}
}
