package upload_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/memorylocker"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
)

// slowRecorder is an audit log that lets the last piece of an upload wait.
type slowRecorder struct {
	recorder
	reached, goOn chan struct{}
}

func (r *slowRecorder) Append(context.Context, audit.Category, audit.Event) error {
	close(r.reached)
	<-r.goOn
	return nil
}

// Somebody wants the upload while a piece that has arrived whole is still being recorded. Its connection is good for the next
// request all the same: net/http must not take the client for gone.
func TestConnectionOutlivesAPieceThatIsAskedToLetGo(t *testing.T) {
	slow := &slowRecorder{reached: make(chan struct{}), goOn: make(chan struct{})}
	h, dir := newHandler(t, slow, 0)
	mux := http.NewServeMux()
	mux.Handle("/uploads/{id}", as(h))
	mux.HandleFunc("/next", func(w http.ResponseWriter, r *http.Request) {
		if err := r.Context().Err(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	u, err := dir.Create(t.Context(), "ann", 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	phone := &http.Client{Transport: &http.Transport{}} // with a connection of its own
	t.Cleanup(phone.CloseIdleConnections)
	answered := make(chan int)
	go func() { answered <- send(t, phone, server.URL, "PATCH", u.UploadID, []byte("0123456789")) }()
	<-slow.reached
	head := make(chan int)
	go func() { head <- send(t, http.DefaultClient, server.URL, "HEAD", u.UploadID, nil) }()
	time.Sleep(200 * time.Millisecond) // until the HEAD has asked
	close(slow.goOn)
	if status := <-answered; status != http.StatusNoContent {
		t.Errorf("the piece is answered with %d", status)
	}
	if status := <-head; status != http.StatusOK {
		t.Errorf("HEAD is answered with %d", status)
	}
	resp, err := phone.Get(server.URL + "/next")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Errorf("the next request finds its context ended: %s", said)
	}
}

// newHandler makes a handler for uploads in a directory.
func newHandler(t *testing.T, told interface {
	upload.Auditor
	upload.Counter
}, silence time.Duration) (*upload.Handler, *upload.Dir) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dir := &upload.Dir{Path: filepath.Join(t.TempDir(), "uploads"), Expiry: time.Hour, Now: time.Now, Log: log}
	if err := dir.Init(); err != nil {
		t.Fatal(err)
	}
	h, err := upload.NewHandler(upload.Config{
		Store: dir, Locker: memorylocker.New(), Audit: told, Counter: told, Now: time.Now, Silence: silence,
		Metrics: upload.NewMetrics(prometheus.NewRegistry()), MaxSize: maxSize, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, dir
}

// A client that sends nothing more, and does not go either, is let go by itself: nobody else asks for the upload. What it has
// sent counts.
func TestSilentClientIsLetGo(t *testing.T) {
	h, dir := newHandler(t, &recorder{}, 3*time.Second) // tusd takes no longer than that for what follows either
	mux := http.NewServeMux()
	mux.Handle("/uploads/{id}", as(h))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	u, err := dir.Create(t.Context(), "ann", 10_000, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "PATCH /uploads/%s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"+
		"Content-Type: application/offset+octet-stream\r\nContent-Length: 10000\r\n\r\n%s", u.UploadID, randomBytes(4000))
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn) // to the end of the connection
	if err != nil || !bytes.HasPrefix(said, []byte("HTTP/1.1 500 ")) || !bytes.Contains(said, []byte(`"code":"read_timeout"`)) {
		t.Errorf("the client is told %q, %v", said, err)
	}
	if u, err = dir.Get(t.Context(), u.UploadID); err != nil || u.Offset != 4000 {
		t.Errorf("the offset is %d, %v", u.Offset, err)
	}
}

// send sends a tus request beside the test's own goroutine, and returns the status of the answer.
func send(t *testing.T, c *http.Client, url, method string, id vault.UploadID, piece []byte) int {
	r, err := http.NewRequest(method, url+"/uploads/"+string(id), bytes.NewReader(piece))
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	r.Header.Set("Upload-Offset", "0")
	r.Header.Set("Content-Type", "application/offset+octet-stream")
	resp, err := c.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
