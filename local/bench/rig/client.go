// Package rig is what the benchmarks stand on: a PulseVault of their own, a client that speaks to it, and the table of what
// was measured.
package rig

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// Client speaks to a server as any tus client does.
type Client struct {
	Base string // URL without a slash at its end
	Key  string // API key, where the server wants one
	http http.Client
}

// create opens an upload of size bytes and returns its URL.
func (c *Client) create(ctx context.Context, size int64) (*url.URL, error) {
	resp, err := c.do(ctx, http.MethodPost, c.Base+"/uploads", nil, map[string]string{
		"Upload-Length":   strconv.FormatInt(size, 10),
		"Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte("bench.mp4")),
	}, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.Base + "/")
	if err != nil {
		return nil, err
	}
	return base.Parse(resp.header.Get("Location"))
}

// Upload sends the file in one PATCH and returns the upload's URL and how long the PATCH took.
func (c *Client) Upload(ctx context.Context, file string, size int64) (*url.URL, time.Duration, error) {
	u, err := c.create(ctx, size)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // read only
	start := time.Now()
	resp, err := c.do(ctx, http.MethodPatch, u.String(), f, map[string]string{
		"Upload-Offset": "0",
		"Content-Type":  "application/offset+octet-stream",
	}, http.StatusNoContent)
	took := time.Since(start)
	if err != nil {
		return nil, 0, err
	}
	if got := resp.header.Get("Upload-Offset"); got != strconv.FormatInt(size, 10) {
		return nil, 0, fmt.Errorf("PATCH of %d bytes answered Upload-Offset %q", size, got)
	}
	return u, took, nil
}

// Finalize makes a video of an upload and returns its id and how long that took.
func (c *Client) Finalize(ctx context.Context, upload *url.URL) (string, time.Duration, error) {
	body, err := json.Marshal(map[string]string{"uploadId": path.Base(upload.Path), "filename": "bench.mp4", "userId": "bench"})
	if err != nil {
		return "", 0, err
	}
	start := time.Now()
	resp, err := c.do(ctx, http.MethodPost, c.Base+"/uploads/finalize", bytes.NewReader(body),
		map[string]string{"Content-Type": "application/json"}, http.StatusOK)
	took := time.Since(start)
	if err != nil {
		return "", 0, err
	}
	var answer struct {
		VideoID string `json:"videoId"`
	}
	if err := json.Unmarshal(resp.body, &answer); err != nil || answer.VideoID == "" {
		return "", 0, fmt.Errorf("finalize answered %q", resp.body)
	}
	return answer.VideoID, took, nil
}

// Link signs a path of a video and returns the URL to get it from.
func (c *Client) Link(ctx context.Context, videoID, path string) (string, error) {
	body, err := json.Marshal(map[string]any{"videoId": videoID, "path": path, "expiresIn": 3600})
	if err != nil {
		return "", err
	}
	resp, err := c.do(ctx, http.MethodPost, c.Base+"/media/sign", bytes.NewReader(body),
		map[string]string{"Content-Type": "application/json"}, http.StatusOK)
	if err != nil {
		return "", err
	}
	var answer struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal(resp.body, &answer); err != nil {
		return "", err
	}
	return c.Base + answer.URL, nil
}

// Get reads what a link leads to, up to 64 MiB of it.
func (c *Client) Get(ctx context.Context, link string) ([]byte, error) {
	resp, err := c.do(ctx, http.MethodGet, link, nil, nil, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return resp.body, nil
}

// response is an answer that has been read.
type response struct {
	header http.Header
	body   []byte
}

// do sends one request; any status but the one wanted is an error.
func (c *Client) do(ctx context.Context, method, to string, body io.Reader, headers map[string]string, want int) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	if f, ok := body.(*os.File); ok {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		req.ContentLength = info.Size() // so that it goes out as it is, straight from the page cache
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read only
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s: %s", method, req.URL.Path, resp.Status, strings.TrimSpace(string(answer)))
	}
	return &response{resp.Header, answer}, nil
}
