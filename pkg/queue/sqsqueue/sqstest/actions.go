package sqstest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// request holds the parameters of every action.
type request struct {
	QueueURL                    string `json:"QueueUrl"`
	QueueName                   string
	MessageBody                 string
	MessageGroupID              string `json:"MessageGroupId"`
	MessageDeduplicationID      string `json:"MessageDeduplicationId"`
	DelaySeconds                int
	MessageAttributes           map[string]attribute
	MaxNumberOfMessages         *int
	WaitTimeSeconds             int
	VisibilityTimeout           *int
	MessageSystemAttributeNames []string
	MessageAttributeNames       []string
	ReceiptHandle               string
	AttributeNames              []string
}

type attribute struct {
	DataType    string
	StringValue string
}

// actions are the actions that the server knows.
var actions = map[string]func(*Server, *http.Request, *fifo, request) (any, error){
	"SendMessage":             (*Server).sendMessage,
	"ReceiveMessage":          (*Server).receiveMessage,
	"DeleteMessage":           (*Server).deleteMessage,
	"ChangeMessageVisibility": (*Server).changeMessageVisibility,
	"GetQueueAttributes":      (*Server).getQueueAttributes,
	"GetQueueUrl":             (*Server).getQueueURL,
}

func (s *Server) sendMessage(_ *http.Request, q *fifo, in request) (any, error) {
	if in.DelaySeconds != 0 {
		return nil, refused("InvalidParameterValue", "Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.", in.DelaySeconds)
	}
	m := message{body: in.MessageBody, group: in.MessageGroupID, dedup: in.MessageDeduplicationID, attributes: in.MessageAttributes}
	if r := m.check(); r != nil {
		return nil, r
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := q.send(s.now(), m)
	return map[string]string{"MD5OfMessageBody": digest(in.MessageBody), "MessageId": a.id, "SequenceNumber": fmt.Sprintf("%020d", a.sequence)}, nil
}

func digest(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// receiveMessage waits until there is something to hand out, the time is over, or nobody waits for it any more.
func (s *Server) receiveMessage(r *http.Request, q *fifo, in request) (any, error) {
	n, visibility := 1, 30
	if in.MaxNumberOfMessages != nil {
		n = *in.MaxNumberOfMessages
	}
	if in.VisibilityTimeout != nil {
		visibility = *in.VisibilityTimeout
	}
	if n < 1 || n > 10 || in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > 20 || visibility < 0 || visibility > int(maxVisibility.Seconds()) {
		return nil, refused("InvalidParameterValue", "%d messages, %d s of waiting, %d s of visibility timeout", n, in.WaitTimeSeconds, visibility)
	}
	for end := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second); ; {
		if out := s.take(r, q, n, visibility, in); len(out) > 0 || !time.Now().Before(end) {
			return map[string]any{"Messages": out}, nil
		}
		select {
		case <-r.Context().Done():
			return map[string]any{}, nil
		case <-time.After(pollEvery):
		}
	}
}

func (s *Server) take(r *http.Request, q *fifo, n, visibility int, in request) (out []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Context().Err() != nil {
		return nil
	}
	for _, m := range q.receive(s.now(), n, time.Duration(visibility)*time.Second) {
		out = append(out, map[string]any{
			"MessageId": m.id, "ReceiptHandle": m.receipt, "Body": m.body, "MD5OfBody": digest(m.body),
			"Attributes":        asked(in.MessageSystemAttributeNames, m.system()),
			"MessageAttributes": asked(in.MessageAttributeNames, m.attributes),
		})
	}
	return out
}

func (m *message) system() map[string]string {
	return map[string]string{
		"ApproximateReceiveCount":          strconv.Itoa(m.receives),
		"ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.firstReceive.UnixMilli(), 10),
		"SentTimestamp":                    strconv.FormatInt(m.sent.UnixMilli(), 10),
		"MessageGroupId":                   m.group,
		"MessageDeduplicationId":           m.dedup,
		"SequenceNumber":                   fmt.Sprintf("%020d", m.sequence),
	}
}

// asked returns what was asked for by name: nobody gets an attribute that they did not ask for.
func asked[V any](names []string, all map[string]V) map[string]V {
	some := make(map[string]V)
	for name, value := range all {
		if slices.Contains(names, name) || slices.Contains(names, "All") {
			some[name] = value
		}
	}
	return some
}

func (s *Server) deleteMessage(_ *http.Request, q *fifo, in request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, r := q.held(s.now(), in.ReceiptHandle)
	if r != nil {
		return nil, r
	}
	q.remove(m)
	return struct{}{}, nil
}

func (s *Server) changeMessageVisibility(_ *http.Request, q *fifo, in request) (any, error) {
	if in.VisibilityTimeout == nil {
		return nil, refused("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := q.hide(s.now(), in.ReceiptHandle, time.Duration(*in.VisibilityTimeout)*time.Second); r != nil {
		return nil, r
	}
	return struct{}{}, nil
}

func (s *Server) getQueueAttributes(_ *http.Request, q *fifo, in request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	visible, hidden := q.count(s.now())
	all := map[string]string{
		"FifoQueue":                             "true",
		"QueueArn":                              arn(q.name),
		"ApproximateNumberOfMessages":           strconv.Itoa(visible),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(hidden),
		"ApproximateNumberOfMessagesDelayed":    "0",
	}
	if q.dead != nil {
		policy, err := json.Marshal(map[string]any{"deadLetterTargetArn": arn(q.dead.name), "maxReceiveCount": q.maxReceives})
		if err != nil {
			return nil, err
		}
		all["RedrivePolicy"] = string(policy)
	}
	return map[string]any{"Attributes": asked(in.AttributeNames, all)}, nil
}

func arn(name string) string { return "arn:aws:sqs:" + Region + ":" + account + ":" + name }

func (s *Server) getQueueURL(_ *http.Request, _ *fifo, in request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.queues[in.QueueName]; !ok {
		return nil, refused("QueueDoesNotExist", "The specified queue %q does not exist.", in.QueueName)
	}
	return map[string]string{"QueueUrl": s.url(in.QueueName)}, nil
}
