package main_test

import (
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
	for range 600 {
		if len(q.Bodies()) == 1 && strings.Contains(p.said(), "is no event for the audit log") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
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
