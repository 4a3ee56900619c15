package emulator_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/local/emulator"
)

// The test's own binary is the function that it hosts: it does what the event says.
func TestMain(m *testing.M) {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		if os.Getenv("BROKEN") != "" {
			fmt.Println("cannot start")
			os.Exit(3)
		}
		lambda.Start(function)
	}
	os.Exit(m.Run())
}

// order is an event.
type order struct {
	Do    string `json:"do"`
	Bytes int    `json:"bytes"`
	Path  string `json:"path"` // set in events of an API
}

func function(ctx context.Context, raw json.RawMessage) (any, error) {
	var o order
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	if o.Path != "" {
		return answerAPI(raw)
	}
	fmt.Println("asked to", o.Do)
	switch o.Do {
	case "pid":
		time.Sleep(50 * time.Millisecond)
		return os.Getpid(), nil
	case "sleep":
		time.Sleep(time.Minute)
	case "exit":
		os.Exit(7)
	case "panic":
		panic("oh")
	case "fail":
		return nil, errors.New("it does not work")
	case "large":
		return strings.Repeat("x", o.Bytes), nil
	case "memory":
		held := bytes.Repeat([]byte{1}, o.Bytes)
		time.Sleep(time.Minute)
		return len(held), nil
	case "deadline":
		deadline, _ := ctx.Deadline()
		return time.Until(deadline).Seconds(), nil
	case "environment":
		return os.Environ(), nil
	}
	return answerQueue(raw)
}

// answerQueue says which messages of which queue have come, and that all is well.
func answerQueue(raw json.RawMessage) (response events.SQSEventResponse, err error) {
	var e events.SQSEvent
	err = json.Unmarshal(raw, &e)
	for _, m := range e.Records {
		fmt.Println("message", m.Body, "of", m.EventSourceARN)
	}
	return response, err
}

// answerAPI answers an API's event with the event, or with what its body asks for.
func answerAPI(raw json.RawMessage) (any, error) {
	var e events.APIGatewayProxyRequest
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	body, err := base64.StdEncoding.DecodeString(e.Body)
	if err != nil {
		return nil, err
	}
	switch string(body) {
	case "malformed":
		return map[string]any{"no": "status"}, nil
	case "binary":
		return events.APIGatewayProxyResponse{StatusCode: 201, IsBase64Encoded: true, Body: "AAH/", MultiValueHeaders: map[string][]string{
			"Content-Type": {"video/mp2t"}, "Set-Cookie": {"a", "b"}, "Date": {"never"}, "Content-Length": {"3"},
		}}, nil
	case "fail":
		return nil, errors.New("it does not work")
	}
	if len(body) >= emulator.ChunkSize { // as an upload answers, with few words
		return events.APIGatewayProxyResponse{StatusCode: 200, Body: strconv.Itoa(len(body))}, nil
	}
	return events.APIGatewayProxyResponse{StatusCode: 200, Body: string(raw)}, nil
}

const template = `
Parameters:
  Stage: { Type: String, Default: Prod }
Globals:
  Function:
    Timeout: 4
    MemorySize: 300
    Environment: { Variables: { SHARED: shared, OWN: shared, SECRET: !Sub "{{resolve}}", STAGE: !Ref Stage } }
Resources:
  Api: { Type: AWS::Serverless::Api, Properties: { StageName: !Ref Stage } }
  EchoFunction:
    Type: AWS::Serverless::Function
    Properties:
      ReservedConcurrentExecutions: 5
      Environment: { Variables: { OWN: own } }
      Events:
        Root: { Type: Api, Properties: { Path: /, Method: GET } }
        Item: { Type: Api, Properties: { Path: "/items/{id}", Method: any } }
        Rest: { Type: Api, Properties: { Path: "/files/{id}/{path+}", Method: ANY } }
        Queue: { Type: SQS, Properties: { Queue: !GetAtt Tasks.Arn } }
        More: { Type: SQS, Properties: { Queue: !GetAtt Pieces.Arn, BatchSize: 1 } }
        Often: { Type: Schedule, Properties: { Schedule: rate(5 minutes) } }
  BrokenFunction:
    Type: AWS::Serverless::Function
    Properties: { Timeout: 1, MemorySize: 128, Environment: { Variables: { BROKEN: "yes" } } }
  Tasks: { Type: AWS::SQS::Queue }
  Pieces: { Type: AWS::SQS::Queue }
`

func readTemplate(t *testing.T, text string) (emulator.Template, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "template.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return emulator.ReadTemplate(path)
}

// printed is what an emulator prints.
type printed struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

func (p *printed) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.b.Reset()
}

// awaits waits for what comes through a pipe.
func (p *printed) awaits(t *testing.T, line string) {
	t.Helper()
	for range 3000 {
		if strings.Contains(p.String(), line) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%q was not printed: %s", line, p)
}

// host starts an emulator of the functions of the template above.
func host(t *testing.T, change func(*emulator.Config)) (*emulator.Emulator, *printed) {
	t.Helper()
	parsed, err := readTemplate(t, template)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range parsed.Functions {
		path := filepath.Join(dir, f.Name, "bootstrap")
		if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.Symlink(self, path)); err != nil {
			t.Fatal(err)
		}
	}
	out := &printed{}
	c := emulator.Config{Template: parsed, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")}, Log: out, Metrics: emulator.NewMetrics(prometheus.NewRegistry())}
	if change != nil {
		change(&c)
	}
	e := emulator.New(c)
	t.Cleanup(func() {
		e.Close()
		if t.Failed() {
			t.Logf("the emulator printed:\n%s", out)
		}
	})
	return e, out
}

func invoke(t *testing.T, e *emulator.Emulator, do string, size int) emulator.Answer {
	t.Helper()
	a, err := e.Invoke(t.Context(), "echo", fmt.Appendf(nil, `{"do":%q,"bytes":%d}`, do, size))
	if err != nil {
		t.Fatal(err)
	}
	return a
}
