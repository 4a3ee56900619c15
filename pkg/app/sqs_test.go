package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"pulsevault/pkg/app"
	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
)

// mp4 begins like a video, and is none.
const mp4 = "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x10\x00free"

func onSQS(t *testing.T) (*sqstest.Server, map[string]string) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	s := sqstest.Start(t)
	return s, map[string]string{"QUEUE": "sqs", "SQS_QUEUE_URL": s.QueueURL(), "SQS_ENDPOINT": s.Endpoint(), "AWS_REGION": sqstest.Region}
}

// finalize takes bytes in and makes a video of them.
func finalize(t *testing.T, h http.Handler, content string) (videoID string) {
	t.Helper()
	w := ask(h, http.MethodPost, "/uploads", "Tus-Resumable", "1.0.0", "Upload-Length", fmt.Sprint(len(content)))
	location := w.Header().Get("Location")
	patch := httptest.NewRequest(http.MethodPatch, location, strings.NewReader(content))
	for name, value := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
		patch.Header.Set(name, value)
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, patch)
	if w.Code != http.StatusNoContent {
		t.Fatal(w.Code, w.Body)
	}
	body := fmt.Sprintf(`{"uploadId":%q,"filename":"clip.mp4"}`, filepath.Base(location))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/uploads/finalize", strings.NewReader(body)))
	var answer struct{ VideoID string }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body, err)
	}
	return answer.VideoID
}

func TestFunctionsOnlyQueueOnSQS(t *testing.T) {
	s, settings := onSQS(t)
	a, _ := newApp(t, settings)
	id := finalize(t, a.Handler(app.Upload, app.Finalize), mp4)
	want := `{"type":"transcode","videoId":"` + id + `"}`
	if got := s.Bodies(); len(got) != 1 || got[0] != want || s.Calls("ReceiveMessage") != 0 {
		t.Errorf("queued %q, want %q", got, want)
	}
	metrics := ask(a.Handler(app.Health), http.MethodGet, "/metrics").Body.String()
	if !strings.Contains(metrics, `pulsevault_queue_tasks{queue="transcode",state="pending"} 1`) {
		t.Error("the metrics do not show the queue")
	}
	ready := ask(a.Handler(app.Health), http.MethodGet, "/readyz")
	if !strings.Contains(ready.Body.String(), `"queue":"ok"`) {
		t.Errorf("ready: %d %s", ready.Code, ready.Body)
	}
}

// A worker takes the task from SQS and says what became of it: here, that these bytes are no video.
func TestAWorkerOnSQS(t *testing.T) {
	s, settings := onSQS(t)
	a, c := newApp(t, settings)
	id := finalize(t, a.Handler(app.Upload, app.Finalize), mp4)
	workUntilDead(t, a, s)
	wantFailed(t, c, id, "damaged")
}

// A function that cannot work says so with the last receive, and not before.
func TestTheLastReceiveOfABatchIsFinal(t *testing.T) {
	_, settings := onSQS(t)
	a, c := newApp(t, settings)
	id := finalize(t, a.Handler(app.Upload, app.Finalize), mp4)
	t.Setenv("PATH", t.TempDir()) // no ffmpeg there
	for _, receives := range []int{1, queue.MaxTries - 1, queue.MaxTries} {
		response, err := a.PerformBatch(t.Context(), events.SQSEvent{Records: []events.SQSMessage{{
			Body: `{"type":"transcode","videoId":"` + id + `"}`, Attributes: map[string]string{"ApproximateReceiveCount": strconv.Itoa(receives)},
		}}})
		again := len(response.BatchItemFailures) == 1
		if err != nil || again != (receives < queue.MaxTries) {
			t.Errorf("receive %d: %+v, %v", receives, response, err)
		}
	}
	wantFailed(t, c, id, "could not be transcoded here")
}

// A video that kills its workers is recorded as failed, and nobody is set to it again.
func TestAVideoThatKillsItsWorkersOnSQS(t *testing.T) {
	s, settings := onSQS(t)
	a, c := newApp(t, settings)
	id := finalize(t, a.Handler(app.Upload, app.Finalize), mp4)
	for range queue.MaxTries {
		s.Take(t.Context(), 30*time.Second)
		s.Advance(31 * time.Second)
	}
	workUntilDead(t, a, s)
	wantFailed(t, c, id, "again and again")
	a.Sweep(context.WithoutCancel(t.Context()))
	if left := s.Bodies(); len(left) > 0 {
		t.Errorf("queued again: %v", left)
	}
}

// workUntilDead runs a worker until the task is among the dead letters.
func workUntilDead(t *testing.T, a *app.App, s *sqstest.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.RunWorker(ctx) }()
	for end := time.Now().Add(time.Minute); len(s.DeadLetters()) == 0 || len(s.Bodies()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the task does not end")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func wantFailed(t *testing.T, c app.Config, id, reason string) {
	t.Helper()
	meta, err := os.ReadFile(filepath.Join(c.VideoDir, id, "meta.json"))
	if err != nil || !strings.Contains(string(meta), `"status":"transcode_failed"`) || !strings.Contains(string(meta), reason) {
		t.Errorf("%s, %v; want it failed because %q", meta, err, reason)
	}
	if marked, err := filepath.Glob(filepath.Join(c.MediaRoot, "pending", "*")); err != nil || len(marked) > 0 {
		t.Errorf("still marked: %v, %v", marked, err)
	}
}
