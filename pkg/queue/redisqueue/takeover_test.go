package redisqueue_test

import (
	"bufio"
	"context"
	"errors"
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

// orphan has a worker take the one task that is queued, kills it, and moves its lease into the past.
func orphan(t *testing.T, o redisdb.Options) {
	t.Helper()
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

	client := redistest.Client(t, o)
	count := 0
	for _, name := range []string{queue.TranscodeQueue, queue.PiecesQueue} {
		leases := "asynq:{" + name + "}:lease"
		held, err := client.ZRange(t.Context(), leases, 0, -1).Result()
		for _, id := range held {
			count++
			long := redis.Z{Score: float64(time.Now().Add(-31 * time.Second).Unix()), Member: id}
			err = errors.Join(err, client.ZAddXX(t.Context(), leases, long).Err())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if count != 1 {
		t.Fatalf("%d leases after the kill", count)
	}
}
