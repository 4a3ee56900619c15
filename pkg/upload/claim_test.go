package upload_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"pulsevault/pkg/media"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
)

// claimOf is what a client puts into Upload-Checksum for a piece.
func claimOf(algorithm string, piece []byte) string {
	var sum []byte
	switch algorithm {
	case "sha1":
		s := sha1.Sum(piece)
		sum = s[:]
	case "sha256":
		s := sha256.Sum256(piece)
		sum = s[:]
	}
	return algorithm + " " + base64.StdEncoding.EncodeToString(sum)
}

func parsedClaim(t *testing.T, algorithm string, piece []byte) *upload.Claim {
	t.Helper()
	c, err := upload.ParseClaim([]string{claimOf(algorithm, piece)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStoreTakesClaimedPiecesAndDelivers(t *testing.T) {
	const mib = 1 << 20
	data := randomBytes(17*mib + 5)
	forEachStore(t, func(t *testing.T, s store, m media.Store, _ *clock) {
		for name, ends := range map[string][]int{
			"one":                  {17*mib + 5},
			"that end as parts do": {8 * mib, 16 * mib, 17*mib + 5},
			"short ones":           {1, 1, 3000, 9 * mib, 17*mib + 5},
		} {
			for _, algorithm := range []string{"sha1", "sha256"} {
				id := create(t, s, len(data)).UploadID
				for _, end := range ends {
					u := sendPieces(t, s, id, data)
					piece := data[u.Offset:end]
					n, err := s.Append(t.Context(), &u, bytes.NewReader(piece), parsedClaim(t, algorithm, piece))
					if err != nil || n != int64(len(piece)) || u.Offset != int64(end) {
						t.Fatalf("%s, %s: %d bytes taken up to %d, %v", name, algorithm, n, u.Offset, err)
					}
				}
				wantDelivered(t, s, m, id, data)
			}
		}
	})
}

// wantDelivered has the upload become a video, and compares it with what was sent.
func wantDelivered(t *testing.T, s store, m media.Store, id vault.UploadID, data []byte) {
	t.Helper()
	u := sendPieces(t, s, id, data)
	want := sha256.Sum256(data)
	if sum, err := upload.Checksum(u); err != nil || sum != hex.EncodeToString(want[:]) || !u.Complete() {
		t.Errorf("checksum %s, %v, complete %v", sum, err, u.Complete())
	}
	if err := s.Deliver(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got, _, err := m.Read(t.Context(), media.OriginalKey(u.VideoID)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the original has %d bytes that are not those sent, %v", len(got), err)
	}
}

// A claimed piece that is damaged, or cut short, or has not come to its end, does not count, however long it is.
func TestStoreCountsAClaimedPieceWholeOrNotAtAll(t *testing.T) {
	data := randomBytes(70 << 20) // longer than what counts at once of a piece without a claim
	broken := errors.New("connection reset")
	forEachStore(t, func(t *testing.T, s store, m media.Store, _ *clock) {
		id := create(t, s, len(data)).UploadID
		before := sendPieces(t, s, id, data, 1<<20+3)
		rest := data[before.Offset:]
		damaged := bytes.Clone(rest)
		damaged[len(damaged)-1] ^= 1
		wantUnmoved := func(when string) {
			t.Helper()
			if now := sendPieces(t, s, id, data); !reflect.DeepEqual(now, before) {
				t.Fatalf("%s, the record moved on from %d to %d", when, before.Offset, now.Offset)
			}
		}
		atTheEnd := readerFunc(func([]byte) (int, error) {
			wantUnmoved("within a piece")
			return 0, io.EOF
		})
		for _, algorithm := range []string{"sha1", "sha256"} {
			u := before
			n, err := s.Append(t.Context(), &u, io.MultiReader(bytes.NewReader(damaged), atTheEnd), parsedClaim(t, algorithm, rest))
			if n != 0 || vault.KindOf(err) != vault.Unprocessable || !reflect.DeepEqual(u, before) {
				t.Errorf("%s: %d bytes taken of a damaged piece, %v", algorithm, n, err)
			}
			wantUnmoved("after a damaged piece")
			n, err = s.Append(t.Context(), &u, io.MultiReader(bytes.NewReader(rest[:len(rest)-10]), iotest.ErrReader(broken)), parsedClaim(t, algorithm, rest))
			if n != 0 || !errors.Is(err, broken) || !reflect.DeepEqual(u, before) {
				t.Errorf("%s: %d bytes taken of a piece that was cut short, %v", algorithm, n, err)
			}
			wantUnmoved("after a piece that was cut short")
		}
		u := before
		if n, err := s.Append(t.Context(), &u, bytes.NewReader(rest), parsedClaim(t, "sha1", rest)); err != nil || n != int64(len(rest)) {
			t.Fatalf("%d bytes taken of the right piece, %v", n, err)
		}
		wantDelivered(t, s, m, id, data)
		if b, ok := m.(*media.Bucket); ok {
			if keys, err := b.List(t.Context(), "tails/"); err != nil || len(keys) != 0 {
				t.Errorf("left behind: %v, %v", keys, err)
			}
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestOptionsTellsTheAlgorithms(t *testing.T) {
	w := newWorld(t)
	resp := w.expect(w.do("OPTIONS", "/uploads", nil), 200)
	if got := resp.Header.Get("Tus-Checksum-Algorithm"); got != "sha1,sha256" {
		t.Errorf("Tus-Checksum-Algorithm = %q", got)
	}
}

func TestPiecesWithChecksums(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(3<<20 + 17)
	id := w.create(len(data))
	ends := []int{1 << 20, 2 << 20, 2<<20 + 1, len(data)}
	algorithms := []string{"sha256", "sha1", "sha256", "sha1"}
	for i, end := range ends {
		offset := w.offset(id)
		piece := data[offset:end]
		damaged := bytes.Clone(piece)
		damaged[len(piece)/2] ^= 0x80
		for _, wrong := range [][]byte{damaged, piece[:len(piece)-1], nil} {
			resp := w.patch(id, offset, bytes.NewReader(wrong), "Upload-Checksum: "+claimOf(algorithms[i], piece))
			w.wantRefusal(resp, 460, "checksum_mismatch")
			if got := w.offset(id); got != offset {
				t.Fatalf("offset %d after a mismatch, want %d", got, offset)
			}
		}
		resp := w.expect(w.patch(id, offset, bytes.NewReader(piece), "Upload-Checksum: "+claimOf(algorithms[i], piece)), 204)
		if got := resp.Header.Get("Upload-Offset"); got != fmt.Sprint(end) {
			t.Fatalf("Upload-Offset = %s, want %d", got, end)
		}
	}
	w.wantStored(id, data)
	if w.recorder.counted != 1 || fmt.Sprint(w.recorder.actions) != "[upload.completed]" {
		t.Errorf("completed %d times, audited %v", w.recorder.counted, w.recorder.actions)
	}
}

func (w *world) wantRefusal(resp *http.Response, status int, code string) {
	w.t.Helper()
	var e struct {
		Error struct{ Code, Message, RequestID string }
	}
	if err := json.NewDecoder(w.expect(resp, status).Body).Decode(&e); err != nil || e.Error.Code != code || e.Error.Message == "" || e.Error.RequestID == "" {
		w.t.Errorf("the refusal is %+v (%v), want %s", e, err, code)
	}
}

func TestChecksumsThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	id := w.create(3)
	right := claimOf("sha1", []byte("abc"))
	for name, tc := range map[string]struct {
		headers []string
		code    string
	}{
		"another algorithm":    {[]string{"md5 kAFQmDzST7DWlj99KOF/cg=="}, "unknown_checksum_algorithm"},
		"in capitals":          {[]string{"SHA1" + right[4:]}, "unknown_checksum_algorithm"},
		"no checksum":          {[]string{"sha1"}, "invalid_checksum"},
		"no algorithm":         {[]string{right[5:]}, "unknown_checksum_algorithm"},
		"hex":                  {[]string{"sha1 a9993e364706816aba3e25717850c26c9cd0d89d"}, "invalid_checksum"},
		"of another algorithm": {[]string{"sha256" + right[4:]}, "invalid_checksum"},
		"two spaces":           {[]string{"sha1 " + right[4:]}, "invalid_checksum"},
		"without padding":      {[]string{strings.TrimRight(right, "=")}, "invalid_checksum"},
		"bits in the padding":  {[]string{right[:len(right)-2] + "1="}, "invalid_checksum"},
		"more behind it":       {[]string{right + ",sha256"}, "invalid_checksum"},
		"two":                  {[]string{right, right}, "invalid_checksum"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			for _, value := range tc.headers {
				headers = append(headers, "Upload-Checksum: "+value)
			}
			w.wantRefusal(w.patch(id, 0, strings.NewReader("abc"), headers...), 400, tc.code)
			headers = append(headers, "Upload-Length: 3", "Content-Type: application/offset+octet-stream")
			w.wantRefusal(w.do("POST", "/uploads", strings.NewReader("abc"), headers...), 400, tc.code)
		})
	}
	if entries, _ := os.ReadDir(w.dir.Path); len(entries) != 2 || w.offset(id) != 0 {
		t.Errorf("refusals left something behind: %v", entries)
	}
	w.expect(w.patch(id, 0, strings.NewReader("abc"), "Upload-Checksum: "+right), 204)
	w.wantStored(id, []byte("abc"))
}

// An upload that was to begin with a damaged piece is not there: its address was never told.
func TestCreationWithAChecksum(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(100_000)
	for _, algorithm := range []string{"sha1", "sha256"} {
		headers := []string{"Upload-Length: 100000", "Content-Type: application/offset+octet-stream", "Upload-Checksum: " + claimOf(algorithm, data)}
		resp := w.do("POST", "/uploads", bytes.NewReader(append([]byte{data[0] + 1}, data[1:]...)), headers...)
		w.wantRefusal(resp, 460, "checksum_mismatch")
		if resp.Header.Get("Location") != "" || resp.Header.Get("Upload-Expires") != "" {
			t.Errorf("the answer speaks of an upload: %v", resp.Header)
		}
		if entries, _ := os.ReadDir(w.dir.Path); len(entries) != 0 {
			t.Errorf("left behind: %v", entries)
		}
		resp = w.expect(w.do("POST", "/uploads", bytes.NewReader(data), headers...), 201)
		id := vault.UploadID(path.Base(resp.Header.Get("Location")))
		w.wantStored(id, data)
		w.expect(w.do("DELETE", "/uploads/"+string(id), nil), 204)
	}
	if got := fmt.Sprint(w.recorder.actions); got != "[upload.completed upload.terminated upload.completed upload.terminated]" {
		t.Errorf("audited: %s", got)
	}
}

// Of a piece that is cut short nothing counts, and whoever is still there hears that it was cut short, not that it is wrong.
func TestClaimedPieceThatIsCutShort(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(1 << 20)
	id := w.create(len(data))
	long := append(bytes.Clone(data), "!!"...)
	for name, tc := range map[string]struct {
		claimed    []byte
		rest, code string
	}{
		"connection": {data, fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(data), data[:700_000]), "unexpected_eof"},
		"chunks":     {data, fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nZZ\r\n", 700_000, data[:700_000]), "invalid_body"},
		"too long":   {long, fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long), "upload_size_exceeded"},
	} {
		head := fmt.Sprintf("PATCH /uploads/%s HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"+
			"Upload-Offset: 0\r\nUpload-Checksum: %s\r\n", id, claimOf("sha1", tc.claimed))
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, head+tc.rest); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(name, err)
		}
		answer, _ := io.ReadAll(resp.Body)
		_ = conn.Close()
		if !bytes.Contains(answer, []byte(`"code":"`+tc.code+`"`)) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, answer)
		}
		if got := w.offset(id); got != 0 {
			t.Errorf("%s: offset %d", name, got)
		}
	}
}

// A client that comes back and asks for the offset makes its own stuck piece let go, of which nothing counts.
func TestHeadMakesStuckClaimedPieceLetGo(t *testing.T) {
	w := newWorld(t)
	data := randomBytes(1 << 20)
	id := w.create(len(data))
	pipe, stuck := io.Pipe()
	defer func() { _ = stuck.Close() }()
	answered := make(chan *http.Response, 1)
	go func() { answered <- w.patch(id, 0, pipe, "Upload-Checksum: "+claimOf("sha256", data)) }()
	if _, err := stuck.Write(data[:800_000]); err != nil {
		t.Fatal(err)
	}
	w.waitFor(func() bool {
		info, err := os.Stat(w.dir.DataPath(id))
		return err == nil && info.Size() > 500_000
	})
	if got := w.offset(id); got != 0 {
		t.Errorf("offset %d after the piece let go", got)
	}
	w.wantRefusal(<-answered, 423, "upload_interrupted")
	w.expect(w.patch(id, 0, bytes.NewReader(data), "Upload-Checksum: "+claimOf("sha256", data)), 204)
	w.wantStored(id, data)
}
