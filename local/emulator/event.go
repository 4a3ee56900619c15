package emulator

import (
	"encoding/base64"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"
)

// newEvent is the event that an API Gateway makes of a request: "Input format of a Lambda function for proxy integration"
// of its documentation. The path is as it was sent, its parameters are decoded, and a body is always base64, for every
// media type is binary (BinaryMediaTypes "*/*").
func newEvent(r *http.Request, m match, body []byte, stage string) events.APIGatewayProxyRequest {
	e := events.APIGatewayProxyRequest{
		Resource: m.resource, Path: r.URL.EscapedPath(), HTTPMethod: r.Method, PathParameters: m.parameters,
		Headers: map[string]string{}, MultiValueHeaders: map[string][]string{},
		RequestContext: requestContext(r, m, stage),
	}
	header := r.Header.Clone()
	header.Set("Host", r.Host)
	header.Set("X-Forwarded-Proto", "http")
	header.Add("X-Forwarded-For", e.RequestContext.Identity.SourceIP)
	for name, values := range header {
		if isHop(name) {
			continue
		}
		if name == "X-Forwarded-For" {
			values = []string{strings.Join(values, ", ")}
		}
		e.Headers[name] = values[len(values)-1]
		e.MultiValueHeaders[name] = values
	}
	if query := r.URL.Query(); len(query) > 0 {
		e.QueryStringParameters, e.MultiValueQueryStringParameters = map[string]string{}, query
		for name, values := range query {
			e.QueryStringParameters[name] = values[len(values)-1]
		}
	}
	if len(body) > 0 {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e
}

// isHop reports whether a header is about the connection to the gateway, and not passed on.
func isHop(name string) bool {
	switch name {
	case "Connection", "Content-Length", "Expect", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

func requestContext(r *http.Request, m match, stage string) events.APIGatewayProxyRequestContext {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	now := time.Now().UTC()
	return events.APIGatewayProxyRequestContext{
		AccountID: accountNumber, ResourceID: "local", ResourcePath: m.resource, HTTPMethod: r.Method, Stage: stage,
		APIID: "local", DomainName: "localhost", DomainPrefix: "localhost", Protocol: r.Proto,
		RequestID: uuid.NewString(), ExtendedRequestID: uuid.NewString(), Path: "/" + stage + r.URL.EscapedPath(),
		RequestTime: now.Format("02/Jan/2006:15:04:05 +0000"), RequestTimeEpoch: now.UnixMilli(),
		Identity: events.APIGatewayRequestIdentity{SourceIP: client, UserAgent: r.UserAgent()},
	}
}
