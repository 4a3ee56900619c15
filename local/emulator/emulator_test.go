package emulator_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pulsevault/local/emulator"
)

func TestTemplate(t *testing.T) {
	got, err := readTemplate(t, template)
	if err != nil {
		t.Fatal(err)
	}
	if got.Stage != "Prod" || len(got.Functions) != 2 || got.Functions[0].Name != "broken" {
		t.Fatalf("%+v", got)
	}
	f := got.Functions[1]
	if f.Name != "echo" || f.Timeout != 4*time.Second || f.MemorySize != 300<<20 || f.Concurrency != 5 || f.Every != 5*time.Minute {
		t.Errorf("%+v", f)
	}
	if want := []emulator.Queue{{"Pieces", 1}, {"Tasks", 10}}; !slices.Equal(f.Queues, want) {
		t.Errorf("queues %v", f.Queues)
	}
	if want := []emulator.Route{{"GET", "/"}, {"ANY", "/files/{id}/{path+}"}, {"ANY", "/items/{id}"}}; !slices.Equal(f.Routes, want) {
		t.Errorf("routes %v", f.Routes)
	}
	if e := f.Environment; len(e) != 3 || e["SHARED"] != "shared" || e["OWN"] != "own" || e["STAGE"] != "Prod" {
		t.Errorf("environment %v: it should hold what is known here, and the function's own over what all have", e)
	}
	for name, bad := range map[string]string{
		"no YAML": "{", "no functions": "Resources: {}",
		"schedule": "Resources: { XFunction: { Type: AWS::Serverless::Function, Properties: { Events: { S: { Type: Schedule, Properties: { Schedule: cron(0) } } } } } }",
	} {
		if _, err := readTemplate(t, bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A function has no more processes than the template reserves for it.
func TestReservedConcurrency(t *testing.T) {
	e, _ := host(t, func(c *emulator.Config) { c.Template.Functions[1].Concurrency = 1 })
	var mu sync.Mutex
	pids := map[string]bool{}
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			a, err := e.Invoke(t.Context(), "echo", []byte(`{"do":"pid"}`))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.Failed {
				t.Errorf("%s, %v", a.Payload, err)
			}
			pids[string(a.Payload)] = true
		})
	}
	calls.Wait()
	if len(pids) != 1 {
		t.Errorf("%d processes, want 1", len(pids))
	}
}

// One process works on one event at a time, and is kept for the next.
func TestProcessesAreReusedAndNoMoreThanAllowed(t *testing.T) {
	e, _ := host(t, func(c *emulator.Config) { c.Concurrency = 3 })
	first := invoke(t, e, "pid", 0)
	if again := invoke(t, e, "pid", 0); string(again.Payload) != string(first.Payload) {
		t.Errorf("process %s, then %s", first.Payload, again.Payload)
	}
	var mu sync.Mutex
	pids := map[string]bool{}
	var calls sync.WaitGroup
	for range 12 {
		calls.Go(func() {
			a, err := e.Invoke(t.Context(), "echo", []byte(`{"do":"pid"}`))
			mu.Lock()
			defer mu.Unlock()
			if err != nil || a.Failed {
				t.Errorf("%s, %v", a.Payload, err)
			}
			pids[string(a.Payload)] = true
		})
	}
	calls.Wait()
	if len(pids) != 3 {
		t.Errorf("%d processes, want 3", len(pids))
	}
}

func TestIdleProcessesAreStopped(t *testing.T) {
	e, _ := host(t, func(c *emulator.Config) { c.Idle = 20 * time.Millisecond })
	pid, err := strconv.Atoi(string(invoke(t, e, "pid", 0).Payload))
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	for range 600 {
		if process.Signal(syscall.Signal(0)) != nil { // nobody is there to be signalled
			if again := invoke(t, e, "pid", 0); again.Failed {
				t.Errorf("the next one: %s", again.Payload)
			}
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the process is still there")
}

// Whatever a function does, its caller gets Lambda's error, and the next one an answer.
func TestFailures(t *testing.T) {
	e, out := host(t, nil)
	for _, tc := range []struct {
		do, kind, message, report string
		bytes                     int
	}{
		{do: "fail", kind: "errorString", message: "it does not work"},
		{do: "panic", kind: "string", message: "oh"},
		{do: "exit", kind: "Runtime.ExitError", message: "exit status 7", report: "Status: error\tError Type: Runtime.ExitError"},
		{do: "sleep", kind: "Sandbox.Timedout", message: "Task timed out after 4.00 seconds", report: "Status: timeout"},
		{do: "large", bytes: emulator.MaxPayload, kind: "Function.ResponseSizeTooLarge", message: "6291556 bytes"},
		{do: "memory", bytes: 400 << 20, kind: "Runtime.OutOfMemory", message: "signal: killed", report: "Error Type: Runtime.OutOfMemory"},
	} {
		t.Run(tc.do, func(t *testing.T) {
			if tc.do == "memory" && runtime.GOOS != "linux" {
				t.Skip("NOT TESTED: memory is measured on Linux only")
			}
			out.Reset()
			a := invoke(t, e, tc.do, tc.bytes)
			var got struct{ ErrorType, ErrorMessage string }
			if err := json.Unmarshal(a.Payload, &got); err != nil || !a.Failed || got.ErrorType != tc.kind || !strings.Contains(got.ErrorMessage, tc.message) {
				t.Errorf("%s (failed %v, %v)", a.Payload, a.Failed, err)
			}
			if !strings.Contains(out.String(), tc.report) {
				t.Errorf("printed %s", out)
			}
			if next := invoke(t, e, "pid", 0); next.Failed {
				t.Errorf("the next one: %s", next.Payload)
			}
		})
	}
}

func TestInvocationsThatCannotBe(t *testing.T) {
	e, out := host(t, nil)
	if _, err := e.Invoke(t.Context(), "nobody", nil); err == nil {
		t.Error("a function that is not there was invoked")
	}
	if _, err := e.Invoke(t.Context(), "echo", make([]byte, emulator.MaxPayload+1)); !errors.Is(err, emulator.ErrTooLarge) {
		t.Errorf("an event that is too large: %v", err)
	}
	if _, err := e.Invoke(t.Context(), "broken", []byte("{}")); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a function that cannot start: %v", err)
	}
	out.awaits(t, "[broken] cannot start")
}

func TestReport(t *testing.T) {
	e, out := host(t, nil)
	cold := regexp.MustCompile(`(?m)^REPORT RequestId: [0-9a-f-]{36}\tDuration: [0-9.]+ ms\tBilled Duration: [0-9]+ ms\tMemory Size: 300 MB\tMax Memory Used: [1-9][0-9]* MB\tInit Duration: [0-9.]+ ms$`)
	for i := range 2 {
		a := invoke(t, e, "pid", 0)
		if matched := cold.MatchString(out.String()); runtime.GOOS == "linux" && matched != (i == 0) {
			t.Errorf("invocation %d printed %s", i+1, out)
		}
		for _, line := range []string{"START RequestId: " + a.RequestID, "END RequestId: " + a.RequestID, "[echo] asked to pid\n"} {
			out.awaits(t, line)
		}
		out.Reset()
	}
}

func TestFunctionsSeeTheirLimits(t *testing.T) {
	e, _ := host(t, func(c *emulator.Config) { c.Env = append(c.Env, "SHARED=here") })
	var left float64
	if err := json.Unmarshal(invoke(t, e, "deadline", 0).Payload, &left); err != nil || left < 1 || left > 4 {
		t.Errorf("%v seconds left of 4, %v", left, err)
	}
	var env []string
	if err := json.Unmarshal(invoke(t, e, "environment", 0).Payload, &env); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AWS_LAMBDA_FUNCTION_NAME=echo", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=300", "OWN=own", "SHARED=here"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestQueueAndSchedule(t *testing.T) {
	e, out := host(t, nil)
	for _, err := range e.Deliver(t.Context(), "echo", "Pieces", emulator.Message{Body: "a", Received: 1}, emulator.Message{Body: "b", Received: 2}) {
		if err != nil {
			t.Error(err)
		}
	}
	out.awaits(t, "message b of arn:aws:sqs:local:")
	out.awaits(t, ":Pieces\n")
	if err := e.Tick(t.Context(), "echo"); err != nil {
		t.Error(err)
	}
	if errs := e.Deliver(t.Context(), "broken", "Tasks", emulator.Message{}, emulator.Message{}); errs[0] == nil || errs[1] == nil {
		t.Errorf("%v: an event that fails as a whole fails for all", errs)
	}
}
