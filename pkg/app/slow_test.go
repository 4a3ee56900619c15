package app_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pulsevault/pkg/app"
)

// narrow is a listener whose connections hold little of what their clients have not taken, and which notices whether a
// file is handed to one as a file.
type narrow struct {
	net.Listener
	file chan bool
}

type narrowConn struct {
	*net.TCPConn
	file chan bool
}

func (l narrow) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	return narrowConn{tcp, l.file}, tcp.SetWriteBuffer(8 << 10)
}

func (c narrowConn) ReadFrom(src io.Reader) (int64, error) {
	part, ok := src.(*io.LimitedReader)
	if ok {
		_, ok = part.R.(syscall.Conn)
	}
	select {
	case c.file <- ok:
	default:
	}
	return c.TCPConn.ReadFrom(src)
}

// serveSlowly serves content in three ways, by one write, from a file, and from what is no file, to clients that must take
// least bytes in the time stall. Each answer that ends is told of.
func serveSlowly(t *testing.T, content []byte, stall time.Duration, least int64) (addr string, file chan bool, ended chan struct{}) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, ended = make(chan bool, 1), make(chan struct{}, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		switch r.URL.Path {
		case "/file":
			serveFile(w, r, path)
		case "/reader":
			_, _ = io.Copy(w, bufio.NewReaderSize(bytes.NewReader(content), 4096))
		default:
			_, _ = w.Write(content)
		}
	})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- app.ServeImpatiently(ctx, narrow{l, file}, stall, least, h) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), file, ended
}

// serveFile serves a file as the media are served: as a section of it.
func serveFile(w http.ResponseWriter, r *http.Request, path string) {
	f, err := os.Open(path)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, path, info.ModTime(), io.NewSectionReader(f, 0, info.Size()))
}

// request sends a request and returns the connection, which holds little of what was not read from it.
func request(t *testing.T, addr, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(8 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A client on a slow line gets everything, to the byte, however often its answer has to wait; and a file still goes out as
// a file.
func TestSlowClientsGetEverything(t *testing.T) {
	content := make([]byte, 600<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	for _, path := range []string{"/write", "/file", "/reader"} {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			addr, file, _ := serveSlowly(t, content, time.Second, 4096)
			conn := request(t, addr, path)
			var got bytes.Buffer
			for piece := make([]byte, 16<<10); ; time.Sleep(100 * time.Millisecond) {
				n, err := conn.Read(piece)
				got.Write(piece[:n])
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("after %d bytes: %v", got.Len(), err)
				}
			}
			if _, body, _ := bytes.Cut(got.Bytes(), []byte("\r\n\r\n")); !bytes.Equal(body, content) {
				t.Errorf("%d bytes have come, not the %d that were sent", len(body), len(content))
			}
			if path == "/file" && !<-file {
				t.Error("the connection was not handed the file")
			}
		})
	}
}

// Whoever reads nothing of an answer, or a byte now and then, does not hold it for ever.
func TestWhoReadsNothingIsLetGo(t *testing.T) {
	content := make([]byte, 4<<20)
	for _, path := range []string{"/write", "/file", "/reader"} {
		for name, pause := range map[string]time.Duration{"silent": time.Hour, "dripping": 20 * time.Millisecond} {
			t.Run(path[1:]+" "+name, func(t *testing.T) {
				t.Parallel()
				addr, _, ended := serveSlowly(t, content, 200*time.Millisecond, 64<<10)
				conn := request(t, addr, path)
				for b := make([]byte, 1); ; {
					select {
					case <-ended:
						return
					case <-time.After(pause):
						_, _ = conn.Read(b)
					}
				}
			})
		}
	}
}

// What the connection has carried a moment before does not change that: net/http takes the deadline of each answer away, and tusd
// sets others.
func TestWhoReadsNothingIsLetGoAfterOtherAnswers(t *testing.T) {
	h, link := segmentHandler(t, map[string]string{}, 4<<20)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- app.ServeImpatiently(ctx, narrow{l, nil}, time.Second, 64<<10, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			if strings.HasPrefix(link, r.URL.Path) {
				ended <- struct{}{}
			}
		}))
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		err = conn.(*net.TCPConn).SetReadBuffer(8 << 10)
	}
	if err == nil {
		_, err = fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS /uploads HTTP/1.1\r\nHost: x\r\n\r\nGET %s HTTP/1.1\r\nHost: x\r\n\r\n", link)
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("an answer of which nobody reads anything holds its connection, and its file, for ever")
	}
	stop()
	if err := errors.Join(conn.Close(), <-served); err != nil {
		t.Error(err)
	}
}

// A request whose body does not come is answered all the same, and its connection closed.
func TestBodiesThatNobodyReadsAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	url, _ := serveSegment(t, map[string]string{}, 1)
	conns := map[string]net.Conn{}
	for _, request := range []string{"POST /nothing", "DELETE /media/sign", "GET /healthz"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", request); err != nil {
			t.Fatal(err)
		}
		conns[request] = conn
	}
	for request, conn := range conns {
		said, err := io.ReadAll(conn)
		if err != nil || !bytes.HasPrefix(said, []byte("HTTP/1.1 ")) {
			t.Errorf("%s: %q, %v", request, said, err)
		}
	}
}

// What is no request is refused as everything else is: in JSON, with the headers of every answer, and without a word about
// what it was refused by.
func TestWhatIsNoRequestIsRefusedInOurWords(t *testing.T) {
	url, _ := serveSegment(t, map[string]string{}, 1)
	for sent, status := range map[string]int{
		"nonsense\r\n\r\n":                                                400,
		"GET / HTTP/1.1\r\n\r\n":                                          400,
		"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n":                    400,
		"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n":                     400,
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n":          400,
		"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot\r\n\r\n":     501,
		"GET / HTTP/7.0\r\nHost: x\r\n\r\n":                               505,
		"GET / HTTP/1.1\r\nHost: x\r\nExpect: money\r\n\r\n":              417,
		"GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 80<<10):             431,
		"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":      404,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                404,
		"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n":                        400,
		"GET / HTTP/1.1\r\nHost: x\r\n\r\nthis too is no request\r\n\r\n": 200,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(conn)
		wantRefusal(t, sent, answers, status)
		if status == 200 { // one that was answered, and then one that is none
			wantRefusal(t, sent, answers, 400)
		}
		_ = conn.Close()
	}
}

func wantRefusal(t *testing.T, request string, answers *bufio.Reader, status int) {
	t.Helper()
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Errorf("%.60q: %v", request, err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/json" || status != 200 && !bytes.Contains(body, []byte(`"requestId":"`)) {
		t.Errorf("%.60q: %d, want %d: %s, %v", request, resp.StatusCode, status, body, err)
	}
	wantSecured(t, request, resp.Header)
}
