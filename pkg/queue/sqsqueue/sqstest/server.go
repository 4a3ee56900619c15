// Package sqstest runs a server that speaks to the real SQS client, for tests: the JSON protocol of SQS over HTTP, with a
// FIFO queue and its dead-letter queue in memory, and others that a test adds.
//
// It keeps the rules of a FIFO queue that matter to us. A message with the deduplication id of one sent in the last five
// minutes is accepted and dropped. Of a message group nothing is handed out while an earlier message of it is hidden. A
// receipt is good until its visibility timeout ends, which may be moved, but to twelve hours after the receipt at most.
// A message that has been received as often as the redrive policy allows moves to the dead-letter queue.
//
// It has a conscience: a request that is not signed, not understood, or refused for a broken rule fails the test, unless
// the test has said that it allows that refusal. And it fails on command, with the request carried out or not.
package sqstest

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
)

// What the server is called where it matters.
const (
	Region    = "eu-central-1"
	account   = "123456789012"
	queueName = "pulsevault.fifo"
	deadName  = "pulsevault-dead.fifo"
)

// DefaultMaxReceives is what the redrive policy allows unless a test says otherwise.
const DefaultMaxReceives = 10

// Server is a fake SQS.
type Server struct {
	t    *testing.T
	http *httptest.Server

	mu      sync.Mutex
	ahead   time.Duration // of the real time
	queues  map[string]*fifo
	allowed []string
	fails   map[string]*failure
	calls   map[string]int
}

// failure is what the next requests for an action meet.
type failure struct {
	left int
	done bool // carried out all the same
}

// Start runs a server until the test ends.
func Start(t *testing.T) *Server {
	t.Helper()
	s := &Server{t: t, queues: make(map[string]*fifo), fails: make(map[string]*failure), calls: make(map[string]int)}
	dead := &fifo{name: deadName}
	s.queues[deadName] = dead
	s.queues[queueName] = &fifo{name: queueName, dead: dead, maxReceives: DefaultMaxReceives}
	s.http = httptest.NewServer(s)
	t.Cleanup(func() {
		s.http.CloseClientConnections() // long polls of workers that a failed test has left behind
		s.http.Close()
	})
	return s
}

// Endpoint is where it listens.
func (s *Server) Endpoint() string { return s.http.URL }

// QueueURL names the queue.
func (s *Server) QueueURL() string { return s.url(queueName) }

func (s *Server) url(name string) string { return s.http.URL + "/" + account + "/" + name }

// Queue is a further queue with its dead-letter queue.
type Queue struct {
	server *Server
	name   string
}

// Add makes a queue, whose messages go to the dead letters once they were received so often.
func (s *Server) Add(name string, maxReceives int) Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	dead := &fifo{name: name + "-dead.fifo"}
	s.queues[dead.name] = dead
	return s.add(name, dead, maxReceives)
}

// AddBeside makes a queue as Add does, but its dead letters are where those of the queue are.
func (s *Server) AddBeside(name string, maxReceives int) Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(name, s.queues[deadName], maxReceives)
}

func (s *Server) add(name string, dead *fifo, maxReceives int) Queue {
	q := Queue{s, name + ".fifo"}
	s.queues[q.name] = &fifo{name: q.name, dead: dead, maxReceives: maxReceives}
	return q
}

// Put sends a message to the queue, as somebody else might.
func (q Queue) Put(group, body string) { q.server.put(q.name, group, body) }

// URL names the queue.
func (q Queue) URL() string { return q.server.url(q.name) }

// ARN names the queue in the events of functions.
func (q Queue) ARN() string { return arn(q.name) }

// Bodies returns the messages that are in the queue, hidden ones too.
func (q Queue) Bodies() []string { return q.server.bodies(q.name) }

// DeadLetters returns the messages that are in its dead-letter queue.
func (q Queue) DeadLetters() []string {
	q.server.mu.Lock()
	dead := q.server.queues[q.name].dead.name
	q.server.mu.Unlock()
	return q.server.bodies(dead)
}

// Take receives a message and does nothing further with it, as a worker that dies. It waits for one to be there.
func (q Queue) Take(ctx context.Context, visible time.Duration) (body string) {
	for ctx.Err() == nil {
		q.server.mu.Lock()
		got := q.server.queues[q.name].receive(q.server.now(), 1, visible)
		q.server.mu.Unlock()
		if len(got) > 0 {
			return got[0].body
		}
		time.Sleep(pollEvery)
	}
	return ""
}

// Client returns a client of the real kind. It gives up after two tries.
func (s *Server) Client() *sqs.Client {
	return sqs.New(sqs.Options{
		Region: Region, BaseEndpoint: aws.String(s.Endpoint()), RetryMaxAttempts: 2,
		Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	})
}

// Logger returns a logger that writes to the test's log.
func (s *Server) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Now is the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return time.Now().Add(s.ahead) }

// Advance lets time pass.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// Allow says that requests may be refused with a code, such as InvalidParameterValue.
func (s *Server) Allow(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed = append(s.allowed, code)
}

// Fail answers the next n requests for an action with an error of the server: carried out all the same, or not.
func (s *Server) Fail(action string, n int, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[action] = &failure{n, done}
}

// Calls is how often an action was asked for.
func (s *Server) Calls(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[action]
}

// SetMaxReceives changes the redrive policy; with 0 there is none, and no dead-letter queue.
func (s *Server) SetMaxReceives(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[queueName].maxReceives = n
	if n == 0 {
		s.queues[queueName].dead = nil
	}
}

// Put sends a message to the queue, as somebody else might.
func (s *Server) Put(body string) { s.put(queueName, "somebody", body) }

func (s *Server) put(name, group, body string) {
	s.t.Helper()
	m := message{body: body, group: group, dedup: uuid.NewString()}
	if r := m.check(); r != nil {
		s.t.Fatal(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[name].send(s.now(), m)
}

// Take is Take of the queue.
func (s *Server) Take(ctx context.Context, visible time.Duration) (body string) {
	return Queue{s, queueName}.Take(ctx, visible)
}

// ARN is ARN of the queue.
func (s *Server) ARN() string { return arn(queueName) }

// Bodies returns the messages that are in the queue, hidden ones too.
func (s *Server) Bodies() []string { return s.bodies(queueName) }

// DeadLetters returns the messages that are in the dead-letter queue.
func (s *Server) DeadLetters() []string { return s.bodies(deadName) }

func (s *Server) bodies(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, m := range s.queues[name].messages {
		all = append(all, m.body)
	}
	return all
}

// refuse fails the test unless the refusal is allowed.
func (s *Server) refuse(action string, r *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.allowed, r.code) {
		s.t.Errorf("SQS refuses %s: %v", action, r)
	}
}
