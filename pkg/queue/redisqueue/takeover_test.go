package redisqueue_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/redisqueue"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

const childEnv = "PULSEVAULT_WORKER_CHILD"

// TestMain turns into a worker that never gets done when it is started by a test.
func TestMain(m *testing.M) {
	addr := os.Getenv(childEnv)
	if addr == "" {
		os.Exit(m.Run())
	}
	w := redisqueue.Worker{Client: redisdb.Open(redisdb.Options{Addr: addr}), Logger: slog.Default()}
	_ = w.Run(context.Background(), func(context.Context, vault.Task, bool) error {
		fmt.Println("working")
		select {}
	})
}

func TestATaskOfAKilledWorkerIsTakenOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		client := redistest.Client(t, o)
		q, task := redisqueue.New(client), newTask()
		enqueue(t, q, task, queue.Queued)

		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+o.Addr)
		child.Stderr = t.Output()
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "working\n" {
			t.Fatalf("the worker says %q, %v", line, err)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		if info := state(t, q, task); info.State != queue.Active {
			t.Fatalf("after the kill: %+v", info)
		}

		// Time passes: the lease ran out 31 seconds ago.
		lease := redis.Z{Score: float64(time.Now().Add(-31 * time.Second).Unix()), Member: task.ID()}
		if n, err := client.ZAddXX(t.Context(), "asynq:{transcode}:lease", lease).Result(); err != nil {
			t.Fatal(n, err)
		}
		taken := make(chan vault.Task, 1)
		begun := time.Now()
		start(t, o, func(_ context.Context, task vault.Task, _ bool) error { taken <- task; return nil })
		select {
		case got := <-taken:
			if took := time.Since(begun); got != task || took > 4*time.Second {
				t.Errorf("%+v was taken over after %v", got, took)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nobody takes it over: %+v", state(t, q, task))
		}
		waitFor(t, "done", func() bool { return state(t, q, task).State == queue.None })
	})
}
