package app_test

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
)

// inBucket are the settings of processes that share a bucket.
func inBucket(t *testing.T) (mediatest.S3, map[string]string) {
	t.Helper()
	s := mediatest.StartS3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey) // where the client looks for them
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
	return s, map[string]string{"STORAGE": "s3", "S3_BUCKET": s.Bucket, "S3_REGION": s.Region, "S3_ENDPOINT": s.Endpoint, "AWS_REGION": s.Region}
}

// signLinks has links made, each of which is an event.
func signLinks(t *testing.T, a *app.App, n int) {
	t.Helper()
	for i := range n {
		body := fmt.Sprintf(`{"videoId":"01890a5d-ac96-774b-bcce-b302099a8057","path":"hls/%d.ts"}`, i)
		w := httptest.NewRecorder()
		a.Handler(app.Sign).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/media/sign", strings.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
	}
}

func verifyAudit(t *testing.T, c app.Config) audit.Report {
	t.Helper()
	report, err := app.VerifyAudit(t.Context(), c, slog.New(slog.DiscardHandler), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Two processes append to the chains in a real bucket, a third verifies them and finds what is changed.
func TestAuditInABucket(t *testing.T) {
	s, settings := inBucket(t)
	first, c := newApp(t, maps.Clone(settings))
	second, _ := newApp(t, maps.Clone(settings))
	for range 3 {
		signLinks(t, first, 2)
		signLinks(t, second, 2)
	}
	report := verifyAudit(t, c)
	if !report.OK() || len(report.Chains) != 1 || report.Chains[0].Entries != 12 {
		t.Fatalf("%s", report)
	}
	bucket := s.Open(t)
	data, version, err := bucket.Read(t.Context(), "audit/access.00000001.log")
	if err != nil {
		t.Fatal(err)
	}
	changed := []byte(strings.Replace(string(data), "hls/1.ts", "hls/2.ts", 1))
	if _, err := bucket.Write(t.Context(), "audit/access.00000001.log", changed, version); err != nil {
		t.Fatal(err)
	}
	if report := verifyAudit(t, c); report.OK() || !strings.Contains(report.String(), "access.00000001.log:2: the hash is not") {
		t.Errorf("%s", report)
	}
}

// With a queue, a process appends nothing: what it has sent, the function puts into the log.
func TestAuditThroughAQueue(t *testing.T) {
	_, settings := inBucket(t)
	sqs := sqstest.Start(t)
	q := sqs.Add("audit", 10)
	settings["AUDIT_QUEUE_URL"], settings["SQS_ENDPOINT"] = q.URL(), sqs.Endpoint()
	a, c := newApp(t, settings)
	signLinks(t, a, 3)
	if report := verifyAudit(t, c); len(report.Chains) > 0 {
		t.Errorf("something is in the log already: %s", report)
	}
	if ready := ask(a.Handler(app.Health), http.MethodGet, "/readyz"); !strings.Contains(ready.Body.String(), `"audit":"ok"`) {
		t.Errorf("ready: %s", ready.Body)
	}
	if metrics := ask(a.Handler(app.Health), http.MethodGet, "/metrics").Body.String(); !strings.Contains(metrics, `pulsevault_audit_sent_total{category="access"} 3`) {
		t.Error("the metrics do not show what was sent")
	}
	var event events.SQSEvent
	for i, body := range q.Bodies() {
		event.Records = append(event.Records, events.SQSMessage{MessageId: fmt.Sprint(i), Body: body})
	}
	r, err := app.OpenRecorder(t.Context(), c, sqs.Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Ledger.Close() })
	if response, err := r.RecordBatch(t.Context(), event); err != nil || len(response.BatchItemFailures) > 0 {
		t.Errorf("%+v, %v", response, err)
	}
	report := verifyAudit(t, c)
	if !report.OK() || len(report.Chains) != 1 || report.Chains[0].Entries != 3 || len(report.Notes) > 0 {
		t.Errorf("%s", report)
	}
	// Where no event can be sent, no link is given.
	sqs.Fail("SendMessage", 10, false)
	w := httptest.NewRecorder()
	a.Handler(app.Sign).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/media/sign",
		strings.NewReader(`{"videoId":"01890a5d-ac96-774b-bcce-b302099a8057","path":"hls/1.ts"}`)))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("without the queue: %d %s", w.Code, w.Body)
	}
}

func TestTheAuditFunctionWantsABucket(t *testing.T) {
	_, c := newApp(t, nil)
	if _, err := app.OpenRecorder(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "STORAGE=s3") {
		t.Errorf("%v", err)
	}
}
