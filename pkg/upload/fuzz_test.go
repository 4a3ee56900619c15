package upload_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tus/tusd/v2/pkg/memorylocker"

	"pulsevault/pkg/media"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/web"
)

func FuzzParseClaim(f *testing.F) {
	for _, seed := range []string{
		claimOf("sha1", []byte("abc")), claimOf("sha256", nil), "sha1", "", " ", "sha1 ", "md5 kAFQmDzST7DWlj99KOF/cg==", "sha1 \r\nqZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "sha1  x", "SHA1 x",
		"sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J1=", "sha256 " + strings.Repeat("A", 43) + "=", "sha256 " + strings.Repeat("_", 43) + "=",
	} {
		f.Add(seed, []byte("abc"))
	}
	f.Fuzz(func(t *testing.T, header string, piece []byte) {
		_, err := upload.ParseClaim([]string{header})
		switch {
		case err != nil && vault.KindOf(err) != vault.Invalid:
			t.Errorf("%q: %v", header, err)
		case err == nil && len(header) != len("sha1 ")+28 && len(header) != len("sha256 ")+44:
			t.Errorf("%q is taken for a checksum", header)
		}
		for _, algorithm := range []string{"sha1", "sha256"} {
			if _, err := upload.ParseClaim([]string{claimOf(algorithm, piece)}); err != nil {
				t.Errorf("the checksum of %q is not taken: %v", piece, err)
			}
		}
	})
}

// A record that can be read is one that can be worked with: its offset is within its size, it can be written again, and
// neither its hash state nor anything else in it makes an upload go wrong.
func FuzzRecord(f *testing.F) {
	d := &upload.Dir{Path: f.TempDir(), Expiry: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	u, err := d.Create(f.Context(), "ann", 100, map[string]string{"filename": "gait.mp4"})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := d.Append(f.Context(), &u, strings.NewReader("some bytes"), nil); err != nil {
		f.Fatal(err)
	}
	id := u.UploadID
	good, err := os.ReadFile(d.DataPath(id) + ".json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, change := range []string{
		`"offset":11`, `"offset":-1`, `"offset":101`, `"offset":0`, `"offset":10,"size":-5`, `"offset":10,"hashState":"AAAA"`, `"offset":10,"hashState":null`,
		`"offset":10,"expiresAt":"x"`, `"offset":1e1`, `"offset":9223372036854775807,"size":9223372036854775807`,
	} {
		f.Add(bytes.Replace(good, []byte(`"offset":10`), []byte(change), 1))
	}
	f.Add(bytes.Replace(good, []byte(id), []byte(vault.NewUploadID()), 1))
	f.Add(good[:len(good)/2])
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if err := os.WriteFile(d.DataPath(id)+".json", record, 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := d.Get(t.Context(), id)
		if err != nil {
			return
		}
		if u.UploadID != id || u.Offset < 0 || u.Offset > u.Size {
			t.Fatalf("%s is taken: %+v", record, u)
		}
		sum, sumErr := upload.Checksum(u)
		if err := d.Save(t.Context(), &u); err != nil {
			t.Fatalf("%s cannot be written again: %v", record, err)
		}
		again, err := d.Get(t.Context(), id)
		if err != nil || again.Offset != u.Offset || again.Size != u.Size || !bytes.Equal(again.HashState, u.HashState) || again.VideoID != u.VideoID {
			t.Errorf("%+v comes back as %+v, %v", u, again, err)
		}
		if u.Offset > 1<<20 {
			return
		}
		if err := os.WriteFile(d.DataPath(id), make([]byte, u.Offset), 0o600); err != nil {
			t.Fatal(err)
		}
		before := u
		n, err := d.Append(t.Context(), &u, bytes.NewReader(make([]byte, min(3, u.Size-u.Offset))), nil)
		switch {
		case (err == nil) != (sumErr == nil):
			t.Errorf("the checksum is %s, %v, and a piece gets %v", sum, sumErr, err)
		case u.Offset != before.Offset+n:
			t.Errorf("%d bytes lead from %d to %d", n, before.Offset, u.Offset)
		}
	})
}

// oneObject is an S3 that holds the same object under every key.
type oneObject []byte

func (o oneObject) Do(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	rec.Header().Set("ETag", `"etag"`)
	_, _ = rec.Write(o)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

// A record in a bucket that can be read says of all bytes before its offset where they are.
func FuzzBucketRecord(f *testing.F) {
	const id = "0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f"
	for _, at := range []string{
		`"offset":0,"multipart":{"id":"x","parts":null,"head":null}`, `"offset":15,"multipart":{"id":"x","parts":[{"etag":"a","size":5},{"etag":"b","size":7}],"tail":"t","tailSize":3,"head":"AAAA"}`,
		`"offset":5`, `"offset":5,"multipart":{"parts":[{"size":10}],"tailSize":-5}`, `"offset":5,"multipart":{"parts":[{"size":-5},{"size":10}]}`, `"offset":20,"multipart":{"tailSize":19}`,
		`"offset":2,"multipart":{"parts":[{"size":9223372036854775807},{"size":9223372036854775807}],"tailSize":4}`,
	} {
		f.Add([]byte(`{"uploadId":"` + id + `","videoId":"` + id + `","size":20,` + at + `}`))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		m := media.NewBucket(
			aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""), HTTPClient: oneObject(record)},
			media.BucketOptions{Bucket: "pulsevault", Region: "eu-central-1", Endpoint: "http://127.0.0.1:1"},
		)
		b := &upload.Bucket{Media: m, Expiry: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		u, err := b.Get(t.Context(), id)
		if err != nil {
			return
		}
		var n big.Int
		for _, p := range append(u.Multipart.Parts, vault.Part{Size: u.Multipart.TailSize}) {
			if n.Add(&n, big.NewInt(p.Size)); p.Size < 0 {
				t.Errorf("%s is taken", record)
			}
		}
		if n.Cmp(big.NewInt(u.Offset)) != 0 || u.Offset < 0 || u.Offset > u.Size || u.UploadID != id || u.Version == "" {
			t.Errorf("%s is taken: %s bytes up to %d of %d", record, &n, u.Offset, u.Size)
		}
	})
}

// fuzzed is what a client sends in a request about uploads.
type fuzzed struct {
	method                                          uint8
	length, offset, checksum, contentType, metadata string
	body                                            []byte
}

var fuzzedMethods = []string{"POST", "PATCH", "HEAD", "DELETE", "OPTIONS", "GET"}

func (x fuzzed) request(target string) *http.Request {
	r := httptest.NewRequest(fuzzedMethods[int(x.method)%len(fuzzedMethods)], target, bytes.NewReader(x.body))
	r.Header.Set("Tus-Resumable", "1.0.0")
	for name, value := range map[string]string{
		"Upload-Length": x.length, "Upload-Offset": x.offset, "Upload-Checksum": x.checksum, "Content-Type": x.contentType, "Upload-Metadata": x.metadata,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

// Whatever headers a client sends, it gets an answer of tus or a refusal in our form. The record moves on by exactly the
// bytes of a piece that was taken, a checksum that came with it is theirs, and a refusal leaves nothing behind.
func FuzzTusHeaders(f *testing.F) {
	const piece = "application/offset+octet-stream"
	for _, x := range []fuzzed{
		{0, "10", "", "", "", "filename Z2FpdC5tcDQ=", nil}, {0, "3", "", claimOf("sha1", []byte("abc")), piece, "", []byte("abc")}, {0, "3", "", claimOf("sha1", []byte("abd")), piece, "", []byte("abc")},
		{0, "+3", "", "", piece, "a,b c,,", []byte("abc")}, {0, "0", "", "", piece, "", nil}, {0, "2", "", "", piece, "", []byte("abc")}, {0, "9223372036854775807", "", "", "", "", nil},
		{1, "", "5", "", piece, "", []byte("abc")}, {1, "", "5", claimOf("sha256", []byte("abc")), piece + "; x=y", "", []byte("abc")}, {1, "", "5", claimOf("sha1", nil), piece, "", []byte("abc")},
		{1, "", "05", "", piece, "", []byte("abcdefghijk")}, {1, "16", "5", "md5 x", piece, "", []byte("abcdefghijkl")}, {1, "", "-5", "", "text/plain", "", nil}, {1, "", " 5", "", strings.ToUpper(piece), "", nil},
		{2, "", "", "x", "", "", nil}, {3, "", "", "", piece, "", nil}, {4, "", "", "", "", "", nil}, {5, "1", "1", "sha1", piece, "x", []byte("x")},
	} {
		f.Add(x.method, x.length, x.offset, x.checksum, x.contentType, x.metadata, x.body)
	}
	dir := &upload.Dir{Path: f.TempDir(), Expiry: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	h, err := upload.NewHandler(upload.Config{
		Store: dir, Locker: memorylocker.New(), Audit: &recorder{}, Counter: &recorder{}, Now: time.Now,
		Room: &room{}, Metrics: upload.NewMetrics(prometheus.NewRegistry()), MaxSize: maxSize, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	observer := &web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
	mux := http.NewServeMux()
	mux.Handle("/uploads", h)
	mux.Handle("/uploads/{id}", h)
	server := observer.Wrap(as(mux))
	f.Fuzz(func(t *testing.T, method uint8, length, offset, checksum, contentType, metadata string, body []byte) {
		x := fuzzed{method, length, offset, checksum, contentType, metadata, body}
		u, err := dir.Create(t.Context(), "ann", 16, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dir.Remove(t.Context(), u) }()
		if _, err := dir.Append(t.Context(), &u, strings.NewReader("12345"), nil); err != nil {
			t.Fatal(err)
		}
		target := "/uploads"
		if fuzzedMethods[int(method)%len(fuzzedMethods)] != "POST" {
			target += "/" + string(u.UploadID)
		}
		rec := httptest.NewRecorder()
		r := x.request(target)
		server.ServeHTTP(rec, r)
		wantOurForm(t, r, rec)
		if r.Method == "POST" {
			wantCreated(t, dir, x, rec)
		} else {
			wantMoved(t, dir, u, x, r, rec)
		}
	})
}

func wantOurForm(t *testing.T, r *http.Request, rec *httptest.ResponseRecorder) {
	t.Helper()
	if rec.Code < 400 || r.Method == "HEAD" {
		return
	}
	var e struct {
		Error struct{ Code, Message, RequestID string }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.RequestID == "" || rec.Code >= 500 {
		t.Errorf("%s %v: %d %s", r.Method, r.Header, rec.Code, rec.Body)
	}
}

// damaged reports whether what a client has sent is not what it says.
func (x fuzzed) damaged() bool {
	algorithm, _, _ := strings.Cut(x.checksum, " ")
	return x.checksum != "" && x.checksum != claimOf(algorithm, x.body)
}

func wantCreated(t *testing.T, dir *upload.Dir, x fuzzed, rec *httptest.ResponseRecorder) {
	t.Helper()
	id := vault.UploadID(path.Base(rec.Header().Get("Location")))
	if rec.Code == http.StatusCreated {
		made, err := dir.Get(t.Context(), id)
		if err != nil || strconv.FormatInt(made.Size, 10) != strings.TrimLeft(x.length[:len(x.length)-1], "0")+x.length[len(x.length)-1:] {
			t.Errorf("an upload of %q bytes has %d, %v", x.length, made.Size, err)
		}
		if made.Offset > 0 && (made.Offset != int64(len(x.body)) || x.damaged()) {
			t.Errorf("%d bytes count of %q with %q", made.Offset, x.body, x.checksum)
		}
		if err := dir.Remove(t.Context(), made); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(dir.Path); err != nil || len(entries) != 2 {
		t.Errorf("%d leaves %d files behind, %v", rec.Code, len(entries), err)
	}
}

func wantMoved(t *testing.T, dir *upload.Dir, u vault.Upload, x fuzzed, r *http.Request, rec *httptest.ResponseRecorder) {
	t.Helper()
	now, err := dir.Get(t.Context(), u.UploadID)
	if r.Method == "DELETE" && rec.Code == http.StatusNoContent {
		if vault.KindOf(err) != vault.NotFound {
			t.Errorf("it is still there: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	want := u.Offset
	if r.Method == "PATCH" && rec.Code == http.StatusNoContent {
		if want += int64(len(x.body)); x.damaged() {
			t.Errorf("%q counts with the checksum %q", x.body, x.checksum)
		}
		if got := rec.Header().Get("Upload-Offset"); got != strconv.FormatInt(want, 10) {
			t.Errorf("Upload-Offset is %s, want %d", got, want)
		}
	}
	content, err := os.ReadFile(dir.DataPath(u.UploadID))
	if now.Offset != want || err != nil || string(content) != "12345"+string(x.body[:want-u.Offset]) {
		t.Errorf("%s %v is answered with %d, and %d bytes count of %q, %v", r.Method, r.Header, rec.Code, now.Offset, content, err)
	}
}
