// Package rig is what the benchmarks stand on, and who else puts a running PulseVault under load: one of their own, a client that
// speaks to it, and the table of what was measured.
package rig

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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

// Client speaks to a server as any tus client and any player does. It tries nothing twice.
type Client struct {
	Base string // URL without a slash at its end
	Key  string // API key, where the server wants one
	HTTP http.Client
}

// Refusal is an answer with another status than was wanted.
type Refusal struct {
	Status int
	Says   string
}

func (r *Refusal) Error() string { return r.Says }

// StatusOf is the status that an error tells of, 0 if there was no answer.
func StatusOf(err error) int {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Status
	}
	return 0
}

// Create opens an upload of size bytes and returns its URL.
func (c *Client) Create(ctx context.Context, size int64) (*url.URL, error) {
	resp, err := c.do(ctx, http.MethodPost, c.Base+"/uploads", nil, map[string]string{
		"Upload-Length":   strconv.FormatInt(size, 10),
		"Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte("clip.mp4")),
	}, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.Base + "/")
	if err != nil {
		return nil, err
	}
	return base.Parse(resp.Header.Get("Location"))
}

// Upload sends the file in one PATCH and returns the upload's URL and how long the PATCH took.
func (c *Client) Upload(ctx context.Context, file string, size int64) (*url.URL, time.Duration, error) {
	u, err := c.Create(ctx, size)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // read only
	start := time.Now()
	got, err := c.Send(ctx, u, 0, f)
	took := time.Since(start)
	if err != nil {
		return nil, 0, err
	}
	if got != size {
		return nil, 0, fmt.Errorf("PATCH of %d bytes answered Upload-Offset %d", size, got)
	}
	return u, took, nil
}

// Send sends a piece of an upload, which begins at offset, and returns the offset that is acknowledged.
func (c *Client) Send(ctx context.Context, upload *url.URL, offset int64, piece io.Reader) (int64, error) {
	resp, err := c.do(ctx, http.MethodPatch, upload.String(), piece, map[string]string{
		"Upload-Offset": strconv.FormatInt(offset, 10),
		"Content-Type":  "application/offset+octet-stream",
	}, http.StatusNoContent)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(resp.Header.Get("Upload-Offset"), 10, 64)
}

// Offset asks how much of an upload is there.
func (c *Client) Offset(ctx context.Context, upload *url.URL) (int64, error) {
	resp, err := c.do(ctx, http.MethodHead, upload.String(), nil, nil, http.StatusOK)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(resp.Header.Get("Upload-Offset"), 10, 64)
}

// Finalize makes a video of an upload and returns its id and how long that took.
func (c *Client) Finalize(ctx context.Context, upload *url.URL) (string, time.Duration, error) {
	body, err := json.Marshal(map[string]string{"uploadId": path.Base(upload.Path), "filename": "clip.mp4"})
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
	if err := json.Unmarshal(resp.Body, &answer); err != nil || answer.VideoID == "" {
		return "", 0, fmt.Errorf("finalize answered %q", resp.Body)
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
	if err := json.Unmarshal(resp.Body, &answer); err != nil {
		return "", err
	}
	return c.Base + answer.URL, nil
}

// Get reads what a link leads to, up to 64 MiB of it.
func (c *Client) Get(ctx context.Context, link string) (*Response, error) {
	return c.do(ctx, http.MethodGet, link, nil, nil, http.StatusOK)
}

// ErrNowhere is a playlist that names nothing.
var ErrNowhere = errors.New("a playlist leads nowhere")

// Follow reads a playlist and returns the link to what is first in it, as a player goes on.
func (c *Client) Follow(ctx context.Context, playlist string) (string, error) {
	list, err := c.Get(ctx, playlist)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(list.Body)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			folder, _, _ := strings.Cut(playlist, "?")
			return folder[:strings.LastIndex(folder, "/")+1] + line, nil
		}
	}
	return "", fmt.Errorf("%w: %q", ErrNowhere, list.Body)
}

// Response is an answer that has been read.
type Response struct {
	Header http.Header
	Body   []byte
}

// do sends one request; any status but the one wanted is a Refusal. The key does not go along with a link, which is good by itself.
func (c *Client) do(ctx context.Context, method, to string, body io.Reader, headers map[string]string, want int) (*Response, error) {
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
	if c.Key != "" && !req.URL.Query().Has("token") {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read only
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != want {
		return nil, &Refusal{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, req.URL.Path, resp.Status, strings.TrimSpace(string(answer)))}
	}
	return &Response{resp.Header, answer}, nil
}
