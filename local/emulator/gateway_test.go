package emulator_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"pulsevault/local/emulator"
)

func gateway(t *testing.T) string {
	t.Helper()
	e, _ := host(t, func(c *emulator.Config) {
		for i := range c.Template.Functions { // a chunk takes seconds under the race detector, more on a busy machine
			c.Template.Functions[i].Timeout = time.Minute
		}
	})
	g, err := emulator.NewGateway(e, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	return server.URL
}

func send(t *testing.T, method, url string, body []byte, headers ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, got
}

func TestEvent(t *testing.T) {
	url := gateway(t)
	body := []byte{0, 1, 0xff}
	resp, got := send(t, "PATCH", url+"/files/7/a/b%20c?x=1&x=2&y=%26", body, "X-Two", "1", "X-Two", "2", "User-Agent", "test", "X-Forwarded-For", "203.0.113.9")
	var e events.APIGatewayProxyRequest
	if err := json.Unmarshal(got, &e); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp.Status, err)
	}
	if e.Resource != "/files/{id}/{path+}" || e.Path != "/files/7/a/b%20c" || e.HTTPMethod != "PATCH" {
		t.Errorf("resource %s, path %s, method %s", e.Resource, e.Path, e.HTTPMethod)
	}
	if want := map[string]string{"id": "7", "path": "a/b c"}; !reflect.DeepEqual(e.PathParameters, want) {
		t.Errorf("path parameters %v", e.PathParameters)
	}
	if want := map[string][]string{"x": {"1", "2"}, "y": {"&"}}; !reflect.DeepEqual(e.MultiValueQueryStringParameters, want) || e.QueryStringParameters["x"] != "2" {
		t.Errorf("query %v, %v", e.MultiValueQueryStringParameters, e.QueryStringParameters)
	}
	if !reflect.DeepEqual(e.MultiValueHeaders["X-Two"], []string{"1", "2"}) || e.Headers["X-Two"] != "2" || e.Headers["Host"] == "" {
		t.Errorf("headers %v", e.MultiValueHeaders)
	}
	if e.Headers["X-Forwarded-For"] != "203.0.113.9, 127.0.0.1" || e.Headers["Content-Length"] != "" {
		t.Errorf("headers %v", e.Headers)
	}
	if !e.IsBase64Encoded || e.Body != base64.StdEncoding.EncodeToString(body) {
		t.Errorf("body %q, base64 %v", e.Body, e.IsBase64Encoded)
	}
	c := e.RequestContext
	if c.Stage != "Prod" || c.Path != "/Prod/files/7/a/b%20c" || c.Identity.SourceIP != "127.0.0.1" || c.Identity.UserAgent != "test" || c.RequestID == "" || c.RequestTimeEpoch == 0 {
		t.Errorf("context %+v", c)
	}
}

func TestAnswers(t *testing.T) {
	url := gateway(t)
	resp, body := send(t, "POST", url+"/items/1", []byte("binary"))
	if resp.StatusCode != 201 || !bytes.Equal(body, []byte{0, 1, 0xff}) || resp.Header.Get("Content-Type") != "video/mp2t" {
		t.Errorf("%s, %v, %v", resp.Status, body, resp.Header)
	}
	if got := resp.Header.Values("Set-Cookie"); len(got) != 2 {
		t.Errorf("a header with two values has %v", got)
	}
	if resp.Header.Get("Date") == "never" || resp.Header.Get("X-Amzn-Remapped-Date") != "never" || resp.Header.Get("X-Amzn-Remapped-Content-Length") != "3" {
		t.Errorf("headers that are the gateway's own: %v", resp.Header)
	}
}

// What the gateway itself answers is AWS's.
func TestGatewayErrors(t *testing.T) {
	url := gateway(t)
	for name, tc := range map[string]struct {
		method, path string
		body         []byte
		status       int
		says         string
	}{
		"no such path":            {"GET", "/nothing", nil, 403, "Missing Authentication Token"},
		"no such method":          {"POST", "/", nil, 403, "Missing Authentication Token"},
		"parameter without value": {"GET", "/files/7", nil, 403, "Missing Authentication Token"},
		"malformed answer":        {"POST", "/items/1", []byte("malformed"), 502, "Internal server error"},
		"function error":          {"POST", "/items/1", []byte("fail"), 502, "Internal server error"},
		"too large for Lambda":    {"POST", "/items/1", make([]byte, 5<<20), 413, "4194304 bytes (4 MiB)"},
		"too large for a gateway": {"POST", "/items/1", make([]byte, 11<<20), 413, "Request Too Long"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := send(t, tc.method, url+tc.path, tc.body)
			var got struct{ Message string }
			if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != tc.status || !strings.Contains(got.Message, tc.says) {
				t.Errorf("%s %s", resp.Status, body)
			}
		})
	}
	if resp, got := send(t, "POST", url+"/items/1", make([]byte, emulator.ChunkSize)); resp.StatusCode != 200 || string(got) != strconv.Itoa(emulator.ChunkSize) {
		t.Errorf("a chunk of the size that is asked for: %s %s", resp.Status, got)
	}
}
