package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pulsevault/pkg/web"
)

// readyTimeout bounds the checks of one GET /readyz.
const readyTimeout = 2 * time.Second

// readyAgain is when to ask again, in seconds.
const readyAgain = "5"

func (a *App) serveRoot(w http.ResponseWriter, r *http.Request) error {
	answer := struct {
		Root    bool   `json:"root"`
		Service string `json:"service"`
		Version string `json:"version,omitempty"`
	}{Root: true, Service: "pulsevault"}
	if a.config.AuthMode == AuthNone { // who must say who they are is not told first what there is to attack
		answer.Version = Version
	}
	web.JSON(w, r, http.StatusOK, answer)
	return nil
}

// serveHealth says that the process answers.
func serveHealth(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, r, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// serveReady says whether what we depend on is there, and names what is not.
func (a *App) serveReady(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	answer := struct {
		Status  string            `json:"status"`
		Checks  map[string]string `json:"checks"`
		Warning string            `json:"warning,omitempty"`
	}{"ready", a.check(ctx), ""}
	if a.config.Production && a.config.AuthMode == AuthNone {
		answer.Warning = unauthenticated
	}
	status := http.StatusOK
	for name, result := range answer.Checks {
		if result != "ok" {
			answer.Status, status = "not ready", http.StatusServiceUnavailable
			web.Logger(r).WarnContext(ctx, "not ready", "check", name, "result", result)
		}
	}
	if status != http.StatusOK {
		w.Header().Set("Retry-After", readyAgain)
	}
	w.Header().Set("Cache-Control", "no-store")
	web.JSON(w, r, status, answer)
	return nil
}

func (a *App) check(ctx context.Context) map[string]string {
	checks := map[string]func(context.Context) error{
		"redis": func(ctx context.Context) error { return a.redis.Ping(ctx).Err() },
		"media": a.checkStorage,
	}
	switch { // in a bucket, the audit log is kept with the media
	case a.auditQueue != nil:
		checks["audit"] = a.auditQueue.Check
	case !a.config.InBucket:
		checks["audit"] = func(context.Context) error { return probeDirs(a.config.AuditDir) }
	}
	if a.config.QueueOnSQS {
		checks["queue"] = func(ctx context.Context) error {
			_, err := a.queue.Stats(ctx)
			return err
		}
	}
	if a.config.works() {
		checks["ffmpeg"] = a.transcoder.Ready
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	results := make(map[string]string)
	for name, check := range checks {
		wg.Go(func() {
			result := "ok"
			if err := check(ctx); err != nil {
				a.Log.WarnContext(ctx, "check failed", "check", name, "error", err)
				result = "down"
			}
			mu.Lock()
			defer mu.Unlock()
			results[name] = result
		})
	}
	wg.Wait()
	return results
}

func probeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if !writable(dir) {
			return fmt.Errorf("%s is not there or cannot be written to", dir)
		}
	}
	return nil
}

// sameFileSystem makes sure that a file can be moved from one directory to the other.
func sameFileSystem(from, to string) error {
	f, err := os.CreateTemp(from, ".tmp-probe-*")
	if err != nil {
		return fmt.Errorf("%s cannot be written to: %w", from, err)
	}
	_ = f.Close()
	defer func() { _ = os.Remove(f.Name()) }()
	probe := filepath.Join(to, filepath.Base(f.Name())) // another process may be trying at the same time, in a container with our pid
	if err := os.Rename(f.Name(), probe); err != nil {
		return fmt.Errorf("UPLOAD_DIR %s and VIDEO_DIR %s must be writable and on one file system: %w", from, to, err)
	}
	return os.Remove(probe)
}
