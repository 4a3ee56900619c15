package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pulsevault/pkg/app"
	"pulsevault/pkg/queue"
	"pulsevault/pkg/queue/sqsqueue/sqstest"
)

// hidden is the visibility timeout of the deployed queue, in seconds.
const hidden = 5400

// callFunction does what Lambda does: it receives a message, calls the function with it, and deletes it unless the function
// says that it must come again. It reports whether there was one, and whether it was deleted.
func callFunction(ctx context.Context, t *testing.T, s *sqstest.Server, a *app.App) (called, done bool) {
	t.Helper()
	url := s.QueueURL()
	out, err := s.Client().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, VisibilityTimeout: hidden, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Messages) == 0 {
		return false, false
	}
	m := out.Messages[0]
	response, err := a.PerformBatch(ctx, events.SQSEvent{Records: []events.SQSMessage{{
		MessageId: aws.ToString(m.MessageId), ReceiptHandle: aws.ToString(m.ReceiptHandle), Body: aws.ToString(m.Body),
		Attributes: m.Attributes, EventSourceARN: s.ARN(),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(response.BatchItemFailures) > 0 {
		return true, false
	}
	if _, err := s.Client().DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	return true, true
}

// functionThatFails is a function that cannot transcode the one video that waits.
func functionThatFails(t *testing.T) (*sqstest.Server, *app.App, app.Config, string) {
	s, settings := onSQS(t)
	a, c := newApp(t, settings)
	id := finalize(t, a.Handler(app.Upload, app.Finalize), mp4)
	t.Setenv("PATH", t.TempDir()) // no ffmpeg there
	return s, a, c, id
}

// A failed task comes back to a function when it is time, and not only when the message is no longer hidden.
func TestAFunctionPutsOffWhatFails(t *testing.T) {
	s, a, c, id := functionThatFails(t)
	for _, least := range []time.Duration{0, 10 * time.Second, time.Minute, 6 * time.Minute} {
		if least > 0 {
			s.Advance(least - 2*time.Second)
			if called, _ := callFunction(t.Context(), t, s, a); called {
				t.Fatalf("tried again before %v have passed", least)
			}
			s.Advance(2*time.Second + least/5)
		}
		if called, done := callFunction(t.Context(), t, s, a); !called || done != (least == 6*time.Minute) {
			t.Fatalf("after %v: called %v, done %v", least, called, done)
		}
	}
	wantFailed(t, c, id, "could not be transcoded here")
}

// What a function had no time for comes back at once.
func TestAFunctionThatRunsOutOfTime(t *testing.T) {
	s, a, _, _ := functionThatFails(t)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // all of which it keeps, to give back
		called, done := callFunction(ctx, t, s, a)
		cancel()
		if !called || done {
			t.Errorf("called %v, done %v", called, done)
		}
	}
}

func TestAFunctionThatCannotPutOff(t *testing.T) {
	s, a, _, _ := functionThatFails(t)
	s.Fail("ChangeMessageVisibility", 99, false)
	if called, done := callFunction(t.Context(), t, s, a); !called || done {
		t.Errorf("called %v, done %v", called, done)
	}
	s.Advance(time.Hour)
	if called, _ := callFunction(t.Context(), t, s, a); called {
		t.Error("the message comes before its time")
	}
	s.Advance(time.Hour)
	if called, _ := callFunction(t.Context(), t, s, a); !called {
		t.Error("the message does not come again")
	}
}

// A video that kills the functions that try it is recorded as failed, and its message ends among the dead letters.
func TestAVideoThatKillsItsFunctions(t *testing.T) {
	s, a, c, id := functionThatFails(t)
	s.SetMaxReceives(queue.MaxTries + 1)
	for range queue.MaxTries {
		s.Take(t.Context(), hidden*time.Second)
		s.Advance(hidden * time.Second)
	}
	if called, done := callFunction(t.Context(), t, s, a); !called || done {
		t.Errorf("called %v, done %v", called, done)
	}
	wantFailed(t, c, id, "again and again")
	s.Advance(hidden * time.Second)
	if called, _ := callFunction(t.Context(), t, s, a); called || len(s.DeadLetters()) != 1 || len(s.Bodies()) != 0 {
		t.Errorf("called %v, queued %v, dead %v", called, s.Bodies(), s.DeadLetters())
	}
}
