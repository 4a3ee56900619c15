package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Files and goroutines are given back, also those of clients that go away in the middle of an answer or of a request.
func TestNothingLeaks(t *testing.T) {
	url, link := serveSegment(t, map[string]string{}, 4<<20)
	host := strings.TrimPrefix(url, "http://")
	plain := func() { fetch(t, http.DefaultClient, url+link, "bytes=0-99", http.StatusPartialContent) }
	requests := func(clients, each int) {
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for n := range each {
					switch n % 5 {
					case 0: // goes away in the middle of the answer
						abort(t, host, "GET "+link+" HTTP/1.1\r\nHost: x\r\n\r\n", 1000)
					case 1: // goes away in the middle of the request
						abort(t, host, "POST /media/sign HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", 0)
					case 2: // and of an upload
						abort(t, host, "POST /uploads HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 9\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 9\r\n\r\n123", 0)
					case 3:
						fetch(t, http.DefaultClient, url+strings.Replace(link, "token=", "token=1", 1), "", http.StatusUnauthorized)
					case 4:
						plain()
					}
				}
			})
		}
		wg.Wait()
		http.DefaultClient.CloseIdleConnections()
	}
	// Connections to Redis are kept, and both ends of each are in this process. So there are more clients beforehand than later:
	// there is hardly a connection left to be made.
	const kept = 8
	requests(64, 10)
	files, routines := settled(t)
	requests(10, 500)
	deadline := time.Now().Add(time.Minute)
	for openFiles(t) > files+kept || runtime.NumGoroutine() > routines+kept {
		if time.Now().After(deadline) {
			t.Fatalf("%d files and %d goroutines became %d and %d", files, routines, openFiles(t), runtime.NumGoroutine())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// settled waits until the numbers of open files and goroutines no longer fall.
func settled(t *testing.T) (files, routines int) {
	files, routines = openFiles(t), runtime.NumGoroutine()
	for range 20 {
		time.Sleep(200 * time.Millisecond)
		f, r := openFiles(t), runtime.NumGoroutine()
		if f >= files && r >= routines {
			break
		}
		files, routines = f, r
	}
	return files, routines
}

// abort sends a request, reads so many bytes of the answer, and closes the connection.
func abort(t *testing.T, host, request string, read int) {
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, read)); err != nil {
		t.Error(err)
	}
}

func fetch(t *testing.T, client *http.Client, url, ranges string, status int) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status {
		t.Errorf("status %d, want %d; %v", resp.StatusCode, status, err)
	}
	_ = resp.Body.Close()
}

// A thousand connections that say nothing, and a thousand that read or write next to nothing, stop nobody else.
func TestSlowClientsStopNobody(t *testing.T) {
	url, link := serveSegment(t, map[string]string{}, 1<<20)
	host := strings.TrimPrefix(url, "http://")
	for n := range 2000 {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		switch n % 4 {
		case 1: // never reads its answer
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", link)
		case 3: // never ends its headers
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: ")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Timeout: 30 * time.Second}
	for range 20 {
		fetch(t, client, url+link, "", http.StatusOK)
	}
	client.CloseIdleConnections()
}

// Headers beyond 64 KiB are refused before anything is done with them.
func TestHeadersAreBounded(t *testing.T) {
	url, _ := serveSegment(t, map[string]string{}, 1)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	go func() { // the server may close before it has read all
		_, _ = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 80<<10))
	}()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, " 431 ") {
		t.Errorf("%q, %v", line, err)
	}
}
