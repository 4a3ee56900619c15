package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// connections is how many clients ask at once.
const connections = 16

// load is one request that is sent again and again.
type load struct {
	request []byte // as it goes over the wire, in HTTP/1.1
	status  string // of the answer, such as "200"
	length  int64  // of the answer's body; 0 if any will do
}

// loaded is how a server bore a load.
type loaded struct {
	perSecond float64
	p99       time.Duration
	cpu       time.Duration // of the server for one request; 0 where /proc is not there
}

// get is a request for a target, with headers given as "Name: value".
func get(host, target string, headers ...string) []byte {
	return []byte("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + strings.Join(append(headers, "\r\n"), "\r\n"))
}

func post(host, target, body string, headers ...string) []byte {
	headers = append(headers, "Content-Type: application/json")
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Length: %d\r\n\r\n%s", target, host, strings.Join(headers, "\r\n"), len(body), body)
}

// contender is a server, which is these processes, and what it is asked for.
type contender struct {
	host string
	load load
	pids []int
}

// byTurns has each server bear its load in every round.
func (b *bench) byTurns(ctx context.Context, all ...contender) (borne [][]loaded, err error) {
	borne = make([][]loaded, len(all))
	for n := range b.rounds {
		one, err := round(ctx, n, all...)
		if err != nil {
			return nil, err
		}
		for i, l := range one {
			borne[i] = append(borne[i], l)
		}
	}
	return borne, nil
}

// turns is how often it is each server's turn in a round.
const turns = 8

// round has each server bear its load for loadTime in the n-th round. They take turns, of which another begins each: what the
// machine does slower for a while counts for all of them.
func round(ctx context.Context, n int, all ...contender) ([]loaded, error) {
	tallies := make([]tally, len(all))
	for turn := range turns {
		for k := range all {
			i := (n + turn + k) % len(all)
			if err := tallies[i].bear(ctx, all[i], loadTime/turns); err != nil {
				return nil, err
			}
		}
	}
	borne := make([]loaded, len(all))
	for i, t := range tallies {
		borne[i] = t.loaded()
	}
	return borne, nil
}

// tally is what has come of a server's turns.
type tally struct {
	times       []time.Duration // of the answers
	took, spent time.Duration   // by the clock, and of the server's processor
}

func (t *tally) loaded() loaded {
	slices.Sort(t.times)
	answers := len(t.times)
	return loaded{
		perSecond: float64(answers) / t.took.Seconds(), p99: t.times[answers*99/100], cpu: t.spent / time.Duration(answers),
	}
}

// bear sends a server its load for a while. The client shares the processor with it, so it does as little as it can: it
// writes the same bytes, and looks at nothing of an answer but its status and its length.
func (t *tally) bear(ctx context.Context, c contender, length time.Duration) error {
	if _, _, err := answer(ctx, c.host, c.load); err != nil { // so that everything is warm
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	before := processorTime(c.pids...)
	began := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	answered := len(t.times)
	for range connections {
		wg.Go(func() {
			mine, err := ask(ctx, c.host, c.load)
			mu.Lock()
			defer mu.Unlock()
			t.times, errs = append(t.times, mine...), append(errs, err)
		})
	}
	wg.Wait()
	t.took, t.spent = t.took+time.Since(began), t.spent+processorTime(c.pids...)-before
	answered = len(t.times) - answered
	if err := errors.Join(errs...); err != nil || answered == 0 {
		return fmt.Errorf("%d requests to %s: %w", answered, c.host, err)
	}
	return nil
}

// ask repeats a request on one connection until ctx ends.
func ask(ctx context.Context, host string, l load) (times []time.Duration, err error) {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // everything has been read
	answers := bufio.NewReaderSize(conn, 256<<10)
	for ctx.Err() == nil {
		began := time.Now()
		if _, err := conn.Write(l.request); err != nil {
			return times, err
		}
		if err := l.read(answers); err != nil {
			return times, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}

// read reads one answer with a Content-Length.
func (l load) read(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if _, rest, _ := bytes.Cut(line, []byte(" ")); !bytes.HasPrefix(rest, []byte(l.status)) {
		return fmt.Errorf("answered %q, not %s", line, l.status)
	}
	length := int64(-1)
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return err
			}
		}
	}
	if length < 0 || l.length > 0 && length != l.length {
		return fmt.Errorf("answered %d bytes, not %d", length, l.length)
	}
	_, err = r.Discard(int(length))
	return err
}

// answer sends a load once and returns what comes back.
func answer(ctx context.Context, host string, l load) (header http.Header, body []byte, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = conn.Close() }() // everything has been read
	if _, err := conn.Write(l.request); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // as above
	body, err = io.ReadAll(resp.Body)
	if err == nil && (!strings.HasPrefix(resp.Status, l.status) || l.length > 0 && int64(len(body)) != l.length) {
		err = fmt.Errorf("answered %s with %d bytes, not %s with %d: %.200s", resp.Status, len(body), l.status, l.length, body)
	}
	return resp.Header, body, err
}

// processorTime is what processes have used so far, to a hundredth of a second each; 0 where /proc is not there.
func processorTime(pids ...int) (all time.Duration) {
	for _, pid := range pids {
		all += processorTimeOf(pid)
	}
	return all
}

func processorTimeOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
