package sqsqueue

import (
	"maps"
	"sync"
	"time"
)

const (
	// firstResend is a little more than the five minutes in which SQS would drop the message anyway.
	firstResend = 6 * time.Minute
	lastResend  = time.Hour
	// forgetAfter is longer than the time between two sweeps: a task that none of them asked for wanted nothing more.
	forgetAfter = 3 * time.Minute
)

// memory keeps a process from sending a task again and again while it waits for a worker: it is sent again only after 6
// minutes, then 12, 24 and so on up to an hour, in case it was lost. The sweep asks for each task that wants work every
// minute; one that was not asked for is forgotten, and sent at once when somebody asks for it later.
type memory struct {
	now func() time.Time

	mu    sync.Mutex
	tasks map[string]sending // by task id
}

type sending struct {
	sent, asked time.Time
	resend      time.Duration // after sent
}

// due reports whether a task is to be sent.
func (m *memory) due(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	s, known := m.tasks[id]
	if !known || s.forgotten(now) {
		return true
	}
	s.asked = now
	m.tasks[id] = s
	return now.Sub(s.sent) >= s.resend
}

// note remembers that a task was sent.
func (m *memory) note(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	maps.DeleteFunc(m.tasks, func(_ string, s sending) bool { return s.forgotten(now) })
	if m.tasks == nil {
		m.tasks = make(map[string]sending)
	}
	resend := firstResend
	if s, known := m.tasks[id]; known {
		resend = min(2*s.resend, lastResend)
	}
	m.tasks[id] = sending{sent: now, asked: now, resend: resend}
}

func (s sending) forgotten(now time.Time) bool { return now.Sub(s.asked) > forgetAfter }
