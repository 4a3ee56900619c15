package app_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pulsevault/pkg/app"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/token"
	"pulsevault/pkg/vault"
)

const streamSecret = "0123456789abcdef0123456789abcdef"

// connection is the server's own writer, which sends a file without reading it if it is handed one.
type connection struct {
	*httptest.ResponseRecorder
	file bool
}

func (c *connection) ReadFrom(src io.Reader) (int64, error) {
	if part, ok := src.(*io.LimitedReader); ok {
		if section, ok := part.R.(*io.SectionReader); ok {
			under, _, _ := section.Outer()
			_, c.file = under.(syscall.Conn)
		}
	}
	return io.Copy(c.ResponseRecorder, src)
}

// A file goes from the disk's cache to the connection without passing through this program, however many wrappers stand
// around the answer: the connection gets the file itself, which it gives to sendfile.
func TestSendfileSurvivesEveryWrapper(t *testing.T) {
	h, link := segmentHandler(t, map[string]string{"CORS_ORIGINS": "https://clinic.example"}, 1<<20)
	for headers, bytes := range map[[2]string]int{{"Origin", "https://clinic.example"}: 1 << 20, {"Range", "bytes=1000-17383"}: 16 << 10} {
		r := httptest.NewRequest(http.MethodGet, link, nil)
		r.Header.Set(headers[0], headers[1])
		c := &connection{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(c, r)
		if !c.file || c.Body.Len() != bytes {
			t.Errorf("%s: a file: %v, %d bytes, want %d; status %d", headers, c.file, c.Body.Len(), bytes, c.Code)
		}
	}
}

// segmentHandler has one video with a segment of so many bytes; link leads to it.
func segmentHandler(t *testing.T, settings map[string]string, size int) (h http.Handler, link string) {
	t.Helper()
	settings["HMAC_SECRET"] = streamSecret
	a, c := newApp(t, settings)
	id := vault.NewVideoID()
	folder := filepath.Join(c.VideoDir, string(id), "hls")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "240p_000.ts"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	record, err := metadata.Marshal(vault.Video{VideoID: id, Status: vault.Uploaded, Version: metadata.Version})
	if err == nil {
		err = os.WriteFile(filepath.Join(c.VideoDir, string(id), "meta.json"), record, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.New(streamSecret, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	tok := signer.Sign("", string(id), "hls/240p_000.ts", time.Now().Add(time.Hour))
	return a.Handler(app.Functions...), "/media/videos/" + string(id) + "/hls/240p_000.ts?token=" + tok
}

// serveSegment serves the same on a server, whose URL it returns.
func serveSegment(t *testing.T, settings map[string]string, size int) (url, link string) {
	t.Helper()
	h, link := segmentHandler(t, settings, size)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.ServeHandler(ctx, l, h, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String(), link
}
