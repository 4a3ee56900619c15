package redisdb_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
)

func startEmbedded(t *testing.T, dir string) *redisdb.Embedded {
	t.Helper()
	e, err := redisdb.StartEmbedded(redisdb.EmbeddedConfig{Dir: dir, SaveEvery: 50 * time.Millisecond, Logger: redistest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEmbeddedIsFoundByOtherProcessesAndRefusesStrangers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "media")
	e := startEmbedded(t, dir)
	defer func() { _ = e.Close() }()
	o, err := redisdb.FindEmbedded(dir)
	if err != nil || o.Addr != e.Options().Addr || o.Password != e.Options().Password {
		t.Fatalf("found %+v, %v; want %+v", o, err, e.Options())
	}
	if err := redistest.Client(t, o).Ping(t.Context()).Err(); err != nil {
		t.Error("with its password:", err)
	}
	if redistest.Client(t, redisdb.Options{Addr: o.Addr}).Ping(t.Context()).Err() == nil {
		t.Error("it answers without a password")
	}
	if info, err := os.Stat(filepath.Join(dir, ".redis.json")); err != nil {
		t.Error(err)
	} else if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the password: %v", info.Mode())
	}
}

func TestEmbeddedServesAFolderOnce(t *testing.T) {
	dir := t.TempDir()
	e := startEmbedded(t, dir)
	second, err := redisdb.StartEmbedded(redisdb.EmbeddedConfig{Dir: dir, Logger: redistest.Logger(t)})
	if err == nil {
		_ = second.Close()
		t.Fatal("a second one serves the same folder")
	}
	if !strings.Contains(err.Error(), "REDIS_HOST") || !strings.Contains(err.Error(), dir) {
		t.Errorf("the refusal does not say what to do: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := startEmbedded(t, dir).Close(); err != nil {
		t.Fatal("after the first was closed:", err)
	}
}

func TestEmbeddedThatIsNotRunningIsNotFound(t *testing.T) {
	closed, killed := t.TempDir(), t.TempDir()
	if err := startEmbedded(t, closed).Close(); err != nil {
		t.Fatal(err)
	}
	// What kill -9 leaves behind: the files, and nobody who holds the lock.
	for name, content := range map[string]string{".redis.json": `{"addr":"127.0.0.1:1","password":"x","pid":1}`, ".serve.lock": ""} {
		if err := os.WriteFile(filepath.Join(killed, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, dir := range map[string]string{"never started": t.TempDir(), "closed": closed, "killed": killed} {
		if o, err := redisdb.FindEmbedded(dir); err == nil || !strings.Contains(err.Error(), "pulsevault serve") {
			t.Errorf("%s: found %+v, %v", name, o, err)
		}
	}
	if err := startEmbedded(t, killed).Close(); err != nil {
		t.Error("a new one after a kill:", err)
	}
}

// A client that has found it goes on when it was started again, elsewhere and with another password.
func TestEmbeddedIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	e := startEmbedded(t, dir)
	o, err := redisdb.FindEmbedded(dir)
	if err != nil {
		t.Fatal(err)
	}
	client := redistest.Client(t, o)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Fatal("what was closed answers")
	}
	e = startEmbedded(t, dir)
	defer func() { _ = e.Close() }()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestEmbeddedLetsKeysExpire(t *testing.T) {
	e := startEmbedded(t, t.TempDir())
	defer func() { _ = e.Close() }()
	c := redistest.Client(t, e.Options())
	const short = 300 * time.Millisecond
	begun := time.Now()
	if err := errors.Join(c.Set(t.Context(), "long", 1, time.Hour).Err(), c.Set(t.Context(), "short", 1, short).Err()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a key is gone after its TTL", func() bool { return c.Exists(t.Context(), "short").Val() == 0 })
	// The same clock counts for both, and it is not faster than ours. It is moved in steps, the first of which may be older.
	const step = 10 * time.Second
	left := c.PTTL(t.Context(), "long").Val()
	if least := time.Hour - time.Since(begun) - step; left > time.Hour-short || left < least {
		t.Errorf("of an hour %v are left, want %v to %v", left, least, time.Hour-short)
	}
}

func TestEmbeddedKeepsTotalsAndHeads(t *testing.T) {
	dir := t.TempDir()
	e := startEmbedded(t, dir)
	counters := redisdb.Counters{Client: redistest.Client(t, e.Options()), Logger: redistest.Logger(t)}
	counters.CountUpload(t.Context())
	counters.CountUpload(t.Context())
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // saved without being closed
		if data, err := os.ReadFile(filepath.Join(dir, ".redis-kept.json")); err == nil && strings.Contains(string(data), `"metrics:uploads:completed":"2"`) {
			break
		} else if time.Now().After(end) {
			t.Fatalf("totals are not saved: %s, %v", data, err)
		}
	}
	counters.CountTranscode(t.Context(), true)
	if err := (redisdb.Heads{Client: counters.Client}).SetHead(t.Context(), "access", []byte(`{"seq":7}`)); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if head, ok, err := redisdb.KeptHead(dir, "access"); string(head) != `{"seq":7}` || !ok || err != nil {
		t.Errorf("kept while nobody serves: %s, %v, %v", head, ok, err)
	}
	e = startEmbedded(t, dir)
	counters.Client = redistest.Client(t, e.Options())
	counters.CountUpload(t.Context())
	want := redisdb.Totals{UploadsCompleted: 3, TranscodeSuccess: 1}
	if got, err := counters.Totals(t.Context()); err != nil || got != want {
		t.Errorf("after a restart: %+v, %v; want %+v", got, err, want)
	}
	if head, ok, err := (redisdb.Heads{Client: counters.Client}).Head(t.Context(), "access"); string(head) != `{"seq":7}` || !ok || err != nil {
		t.Errorf("head after a restart: %s, %v, %v", head, ok, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".redis-kept.json"), []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := startEmbedded(t, dir).Close(); err != nil {
		t.Error("damaged totals stop it:", err)
	}
}
