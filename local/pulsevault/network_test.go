package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Connections are cut, reset, stalled, or come late, again and again while they carry pieces. A client that asks hears the
// offset at once, whatever the server still holds of the connection before, and the bytes come out right.
func TestUploadOverABadNetwork(t *testing.T) {
	for _, claimed := range []bool{false, true} {
		t.Run(fmt.Sprintf("with checksums %v", claimed), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			c := client{t, start(t, "serve", root, "TRANSCODE_ENABLED=false").url}
			network := startBadNetwork(t, strings.TrimPrefix(c.url, "http://"))
			content := asVideo(randomBytes(6 << 20))
			location, err := c.create(len(content))
			if err != nil {
				t.Fatal(err)
			}
			phone := &phone{t: t, url: "http://" + network.addr + location, claimed: claimed}
			for range 500 {
				if phone.sendSome(content) {
					break
				}
			}
			wantFinalized(c, location, content)
			network.wantAll(t)
			verifyAudit(t, root)
		})
	}
}

// phone uploads over connections that each carry one request.
type phone struct {
	t            *testing.T
	url          string
	claimed      bool // each piece comes with its checksum
	acknowledged int
}

// offsetTimeout is far below the minute for which the server would wait for a silent client, and below the 15 seconds for
// which it waits for a lock: who asks for the offset is not to wait for either.
const offsetTimeout = 10 * time.Second

// sendSome asks for the offset, sends pieces until something goes wrong, and reports whether everything is there.
func (p *phone) sendSome(content []byte) bool {
	p.t.Helper()
	head, err := p.try("HEAD", offsetTimeout, nil)
	if err != nil || head.StatusCode != http.StatusOK {
		p.t.Fatalf("the offset is not told: %v, %v", head, err)
	}
	offset, err := strconv.Atoi(head.Header.Get("Upload-Offset"))
	if err != nil || offset < p.acknowledged {
		p.t.Fatalf("the offset is %d, %v; %d bytes were acknowledged", offset, err, p.acknowledged)
	}
	for offset < len(content) {
		piece := content[offset:min(offset+256<<10, len(content))]
		headers := []string{"Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset)}
		if p.claimed {
			sum := sha256.Sum256(piece)
			headers = append(headers, "Upload-Checksum", "sha256 "+base64.StdEncoding.EncodeToString(sum[:]))
		}
		a, err := p.try("PATCH", time.Minute, piece, headers...)
		switch {
		case err != nil:
			return false
		case a.StatusCode == http.StatusConflict, a.StatusCode == http.StatusLocked: // what was late has come
			return false
		case a.StatusCode != http.StatusNoContent:
			p.t.Errorf("PATCH is answered with %d", a.StatusCode)
			return false
		}
		offset += len(piece)
		p.acknowledged = offset
	}
	return true
}

func (p *phone) try(method string, limit time.Duration, body []byte, headers ...string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, p.url, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return resp, err
}

// The official JavaScript client uploads over the same network.
func TestTusJSClientOverABadNetwork(t *testing.T) {
	dir := installTusJS(t)
	root := t.TempDir()
	c := client{t, start(t, "serve", root, "TRANSCODE_ENABLED=false").url}
	network := startBadNetwork(t, strings.TrimPrefix(c.url, "http://"))
	content := asVideo(randomBytes(6 << 20))
	file := filepath.Join(t.TempDir(), "video.mp4")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "upload.js", "http://"+network.addr+"/uploads", file)
	cmd.Dir = dir
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the client gives up: %v\n%s", err, complaints.Bytes())
	}
	address, err := url.Parse(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	wantFinalized(c, address.Path, content)
	network.wantAll(t)
	verifyAudit(t, root)
}

var noRegistry = regexp.MustCompile(`ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET|ERR_SOCKET_TIMEOUT|ENETUNREACH`)

// installTusJS installs the client, in the version that testdata pins, into a folder of the test's own.
func installTusJS(t *testing.T) (dir string) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: no %s here, so the official JavaScript client cannot run: install Node.js", tool)
		}
	}
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "tusjs"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil && (noRegistry.Match(out) || ctx.Err() != nil) {
		t.Skipf("NOT TESTED: the registry of npm packages does not answer, so the official JavaScript client is missing: %v\n%s", err, out)
	}
	if err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return dir
}
