package main_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
	"pulsevault/pkg/redisdb/redistest"
)

// Functions record what they do by SQS, the emulator's poller hands that to the compiled function audit, and the command
// verifies the chains in the bucket.
func TestFunctionsRecordThroughAQueue(t *testing.T) {
	s3, sqs, redis := mediatest.StartS3(t), sqstest.Start(t), redistest.Mini(t)
	q := sqs.Add("audit", 10)
	settings := append(s3.Settings(), "AWS_REGION="+sqstest.Region, "AUDIT_QUEUE_URL="+q.URL(), "SQS_ENDPOINT="+sqs.Endpoint(),
		"REDIS_HOST="+redis.Host(), "REDIS_PORT="+redis.Port(), "TRANSCODE_ENABLED=false")
	root := t.TempDir()
	p := start(t, "emulate", root, settings...)
	c := client{t, p.url}
	const videoID = "01890a5d-ac96-774b-bcce-b302099a8057"
	for range 25 {
		c.sign(videoID, "hls/master.m3u8")
	}
	q.Put("upload", "no event")
	c.sign(videoID, "hls/240p.m3u8")
	comesTrue(func() bool {
		return len(q.Bodies()) == 1 && strings.Contains(p.said(), "is no event for the audit log")
	})
	if bodies := q.Bodies(); len(bodies) != 1 {
		t.Fatalf("%d messages are left in the queue", len(bodies))
	}
	if !strings.Contains(p.said(), "is no event for the audit log") {
		t.Error("nobody tells of the message that is none")
	}
	p.stop()
	code, out := run(t, root, settings, "audit", "verify")
	if code != 0 || !strings.Contains(out, " 26 entries in 1 files") {
		t.Errorf("audit verify: exit status %d\n%s", code, out)
	}
	if n := strings.Count(p.said(), "Function: audit"); n < 3 {
		t.Errorf("the function was called %d times for 27 messages, of which it gets 10 at most", n)
	}
}

// An auditor checks a copy of the folder with the public key and nothing else, and reads who did what.
func TestAuditorsCopy(t *testing.T) {
	root, video := t.TempDir(), shortClip(t) // made before, for the server is to live less than the minute of a second checkpoint
	p := start(t, "serve", root, "TRANSCODE_ENABLED=false")
	c := client{t, p.url}
	const videoID = "01890a5d-ac96-774b-bcce-b302099a8057"
	for range 3 {
		c.sign(videoID, "hls/master.m3u8")
	}
	c.send(video)
	p.stop()
	code, key := run(t, root, nil, "audit", "key")
	if key = strings.TrimSpace(key); code != 0 || !strings.HasPrefix(key, "pulsevault-audit+") {
		t.Fatalf("audit key: exit status %d, %s", code, key)
	}
	info, err := os.Stat(filepath.Join(root, ".audit-signing-key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v, %v", info, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join(root, "audit"))); err != nil {
		t.Fatal(err)
	}
	verify := func() (int, string) {
		return run(t, "/nowhere", []string{"APP_ENV=production"}, "audit", "verify", "--key", key, "--dir", copied)
	}
	if code, out := verify(); code != 0 || !strings.Contains(out, "vouched for up to entry 3 by checkpoint 1") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
	admin, err := filepath.Glob(filepath.Join(copied, "admin-*.log"))
	if err != nil || len(admin) != 1 {
		t.Fatal(admin, err)
	}
	if data, err := os.ReadFile(admin[0]); err != nil || !bytes.Contains(data, []byte("process.started")) || !bytes.Contains(data, []byte("process.stopped")) {
		t.Errorf("start and stop are not told: %s", data)
	}
	for _, format := range []string{"table", "csv", "json"} {
		code, out := run(t, "/nowhere", nil, "audit", "report", "--dir", copied, "--video", videoID, "--format", format)
		if code != 0 || strings.Count(out, "media.signed") != 3 || strings.Contains(out, "process.started") {
			t.Errorf("report as %s: exit status %d\n%s", format, code, out)
		}
	}
	yesterday, never := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), "2001-01-01"
	for what, tc := range map[string]struct {
		args                     []string
		signed, finalized, began int
	}{
		"another user":   {[]string{"--user", "ann"}, 0, 0, 0},
		"a user":         {[]string{"--user", "test"}, 0, 1, 0},
		"lately":         {[]string{"--from", yesterday}, 3, 1, 1},
		"before":         {[]string{"--to", never}, 0, 0, 0},
		"a video before": {[]string{"--video", videoID, "--from", never, "--to", never}, 0, 0, 0},
		"a video since":  {[]string{"--video", videoID, "--from", never}, 3, 0, 0},
	} {
		code, out := run(t, "/nowhere", nil, append([]string{"audit", "report", "--dir", copied}, tc.args...)...)
		if code != 0 || strings.Count(out, "media.signed") != tc.signed || strings.Count(out, "video.finalized") != tc.finalized || strings.Count(out, "process.started") != tc.began {
			t.Errorf("report of %s: exit status %d\n%s", what, code, out)
		}
	}
	if err := os.Remove(filepath.Join(copied, "checkpoints", "00000001.note")); err != nil {
		t.Fatal(err)
	}
	if code, out := verify(); code != 1 || !strings.Contains(out, "00000001.note: is missing") {
		t.Errorf("exit status %d:\n%s", code, out)
	}
}
