package app_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/app"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
	"pulsevault/pkg/vault"
)

func metaOf(t *testing.T, c app.Config, id string) string {
	t.Helper()
	meta, err := os.ReadFile(filepath.Join(c.VideoDir, id, "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(meta)
}

func wantConflict(t *testing.T, what string, err error) {
	t.Helper()
	if vault.KindOf(err) != vault.Conflict {
		t.Errorf("%s: %v, want a refusal of the kind Conflict", what, err)
	}
}

// drain sees to it that SQS takes a task again that it was sent a moment ago, and calls the function with all that is queued.
func drain(t *testing.T, s *sqstest.Server, a *app.App) {
	t.Helper()
	s.Advance(6 * time.Minute)
	for range 10 {
		if called, _ := callFunction(t.Context(), t, s, a); !called {
			return
		}
	}
	t.Fatal("the queue does not come to an end")
}

// On SQS, nobody can be asked what is queued: a video is retried, and cancelled, by its record alone.
func TestOrdersOnSQS(t *testing.T) {
	s, settings := onSQS(t)
	a, c := newApp(t, settings)
	h := a.Handler(app.Upload, app.Finalize)

	id := finalize(t, h, mp4)
	_, err := a.Retry(t.Context(), vault.VideoID(id))
	wantConflict(t, "retry of one that waits", err)
	drain(t, s, a)
	wantFailed(t, c, id, "damaged")
	_, err = a.Cancel(t.Context(), vault.VideoID(id))
	wantConflict(t, "cancel of one that has failed", err)

	// It is queued again, worked on again, and fails again. The command is a process of its own.
	command, _ := newApp(t, settings)
	if done, err := command.Retry(t.Context(), vault.VideoID(id)); err != nil || !strings.HasPrefix(done, "queued again") {
		t.Fatal(done, err)
	}
	if queued := s.Bodies(); len(queued) != 1 || !strings.Contains(queued[0], id) {
		t.Fatalf("queued: %v, want video %s", queued, id)
	}
	drain(t, s, a)
	wantFailed(t, c, id, "damaged")

	if _, err := a.DeadVideos(t.Context()); err == nil || !strings.Contains(err.Error(), "SQS cannot be asked") {
		t.Errorf("dead videos: %v", err)
	}
	if _, err := a.Retry(t.Context(), vault.NewVideoID()); vault.KindOf(err) != vault.NotFound {
		t.Errorf("retry of no video: %v", err)
	}
}

// A video that is cancelled while its task waits is not worked on when that comes.
func TestACancelledVideoOnSQS(t *testing.T) {
	s, settings := onSQS(t)
	a, c := newApp(t, settings)
	id := finalize(t, a.Handler(app.Upload, app.Finalize), mp4)
	if done, err := a.Cancel(t.Context(), vault.VideoID(id)); err != nil || !strings.HasPrefix(done, "cancelled") {
		t.Fatal(done, err)
	}
	cancelled := metaOf(t, c, id)
	wantFailed(t, c, id, "cancelled")
	drain(t, s, a)
	if now := metaOf(t, c, id); now != cancelled {
		t.Errorf("a worker has changed its record to %s", now)
	}
	if dead := s.DeadLetters(); len(dead) > 0 {
		t.Errorf("dead letters: %v", dead)
	}
	_, err := a.Cancel(t.Context(), vault.VideoID(id))
	wantConflict(t, "cancelling it again", err)
	if refusal := new(vault.Error); !errors.As(err, &refusal) || !strings.Contains(refusal.Message, "failed already") {
		t.Errorf("cancelling it again: %v", err)
	}
}
