package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// refusal is an answer with another status than was wanted.
type refusal struct {
	status int
	says   string
}

func (r refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.says) }

// statusOf is the status that an error tells of, 0 if there was no answer.
func statusOf(err error) int {
	var r refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// do sends one request with the key and returns the answer; any status but the one wanted is a refusal.
func (s *stack) do(ctx context.Context, want int, method, path string, body []byte, headers map[string]string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	if !strings.Contains(path, "token=") {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	answer, err := s.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", method, err)
	}
	defer func() { _ = answer.Body.Close() }() // read only
	data, err := io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", method, err)
	}
	if answer.StatusCode != want {
		return answer.Header, data, refusal{answer.StatusCode, method + ": " + strings.TrimSpace(string(data))}
	}
	return answer.Header, data, nil
}

// create opens an upload and returns its path.
func (s *stack) create(ctx context.Context, size int64) (string, error) {
	header, _, err := s.do(ctx, http.StatusCreated, http.MethodPost, "/uploads", nil, map[string]string{
		"Upload-Length": strconv.FormatInt(size, 10), "Upload-Metadata": "filename " + base64.StdEncoding.EncodeToString([]byte("clip.mp4")),
	})
	if err != nil {
		return "", err
	}
	return header.Get("Location"), nil
}

// send sends a piece and returns the offset that is acknowledged.
func (s *stack) send(ctx context.Context, upload string, offset int64, piece []byte) (int64, error) {
	header, _, err := s.do(ctx, http.StatusNoContent, http.MethodPatch, upload, piece, map[string]string{
		"Upload-Offset": strconv.FormatInt(offset, 10), "Content-Type": "application/offset+octet-stream",
	})
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(header.Get("Upload-Offset"), 10, 64)
}

// offset asks how much of an upload is there.
func (s *stack) offset(ctx context.Context, upload string) (int64, error) {
	header, _, err := s.do(ctx, http.StatusOK, http.MethodHead, upload, nil, nil)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(header.Get("Upload-Offset"), 10, 64)
}

// finalize makes a video of an upload and returns its id.
func (s *stack) finalize(ctx context.Context, upload string) (string, error) {
	body := fmt.Sprintf(`{"uploadId":%q,"filename":"clip.mp4"}`, upload[strings.LastIndex(upload, "/")+1:])
	var video struct {
		VideoID string `json:"videoId"`
	}
	return video.VideoID, s.json(ctx, http.MethodPost, "/uploads/finalize", body, &video)
}

// status is that of a video.
func (s *stack) status(ctx context.Context, video string) (string, error) {
	var record struct {
		Status string `json:"status"`
	}
	err := s.json(ctx, http.MethodGet, "/videos/"+video, "", &record)
	return record.Status, err
}

// link signs a path of a video.
func (s *stack) link(ctx context.Context, video, path string) (string, error) {
	var link struct {
		URL string `json:"url"`
	}
	err := s.json(ctx, http.MethodPost, "/media/sign", fmt.Sprintf(`{"videoId":%q,"path":%q,"expiresIn":600}`, video, path), &link)
	return link.URL, err
}

func (s *stack) json(ctx context.Context, method, path, body string, answer any) error {
	_, data, err := s.do(ctx, http.StatusOK, method, path, []byte(body), map[string]string{"Content-Type": "application/json"})
	if err != nil {
		return err
	}
	return json.Unmarshal(data, answer)
}

// play does what a player does to begin: it has a link signed, reads the master playlist, one of a variant, and a segment. It tries
// nothing twice. Returned is what X-Cache-Status says of the segment.
func (s *stack) play(ctx context.Context, video string) (cache string, err error) {
	at, err := s.link(ctx, video, "hls/master.m3u8")
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	for _, what := range []string{"master playlist", "variant playlist", "segment"} {
		header, data, err := s.do(ctx, http.StatusOK, http.MethodGet, at, nil, nil)
		if err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		if what == "segment" {
			if len(data) == 0 || data[0] != 0x47 {
				return "", errors.New("segment: it is no MPEG transport stream")
			}
			return header.Get("X-Cache-Status"), nil
		}
		uri := firstURI(data)
		if uri == "" {
			return "", fmt.Errorf("%s: it names nothing", what)
		}
		path, _, _ := strings.Cut(at, "?")
		at = path[:strings.LastIndex(path, "/")+1] + uri
	}
	return "", nil
}

// firstURI is the first in a playlist.
func firstURI(playlist []byte) string {
	for line := range strings.Lines(string(playlist)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}
