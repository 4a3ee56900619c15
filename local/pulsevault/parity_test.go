package main_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// exchange is one request, and what of it may differ.
type exchange struct {
	method, target, body string
	headers              []string
}

// The server and the emulated functions, on one folder and one Redis, give the same answer to every request: status,
// headers and bytes.
func TestServerAndFunctionsAnswerAlike(t *testing.T) {
	root, settings := t.TempDir(), redisSettings(t)
	server := client{t, start(t, "serve", root, settings...).url}
	functions := client{t, start(t, "emulate", root, settings...).url}
	id := server.send(shortClip(t))
	server.await(id, "transcoded")
	done, err := server.create(10)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(mediaRequests(server, id), uploadRequests(done), otherRequests(id))
	for _, x := range all {
		want, got := server.raw(x), functions.raw(x)
		if want != got {
			t.Errorf("%s %s %.100q %v\nserver:\n%s\nfunctions:\n%s", x.method, x.target, x.body, x.headers, want, got)
		}
	}
	t.Logf("%d requests", len(all))
	if len(all) < 200 {
		t.Errorf("only %d requests", len(all))
	}
}

// mediaRequests ask for media in every way that HTTP has.
func mediaRequests(c client, id string) (all []exchange) {
	for _, path := range []string{"original.mp4", "hls/master.m3u8", "hls/240p.m3u8", "hls/240p_000.ts", "metadata", "renditions", "hls/none.ts"} {
		link := c.sign(id, path)
		a, err := c.try("GET", link, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		etag, modified := a.header.Get("ETag"), a.header.Get("Last-Modified")
		for _, headers := range [][]string{
			nil, {"Range", "bytes=-500"}, {"Range", "bytes=0-0"}, {"Range", "bytes=100-"}, {"Range", "bytes=5-2"}, {"Range", "bytes=abc"},
			{"Range", "bytes=0-999999999"}, {"Range", "bytes=-0"}, {"Range", "bytes=999999999-"}, {"Range", "lines=1-2"}, {"Range", "bytes=0-1, 5-6, 9-"},
			{"If-None-Match", etag}, {"If-None-Match", "W/" + etag}, {"If-None-Match", `"other"`}, {"If-None-Match", "*"}, {"If-Match", etag}, {"If-Match", `"other"`},
			{"If-Modified-Since", modified}, {"If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT"},
			{"Range", "bytes=0-9", "If-Range", etag}, {"Range", "bytes=0-9", "If-Range", `"other"`}, {"Accept-Encoding", "gzip"},
		} {
			all = append(all, exchange{"GET", link, "", headers}, exchange{"HEAD", link, "", headers})
		}
		bare, _, _ := strings.Cut(link, "?")
		for _, target := range []string{
			bare, bare + "?token=", link + "x", link + ".x", link + "&token=1.2", bare + "?token=1.2", strings.ToUpper(link), link + "&x=%26%3d+",
			strings.Replace(bare, "/media", "/%6dedia", 1) + "?token=1.2", bare + "%20?token=1.2", bare + "/..?token=1.2", bare + "%2f..%2fmeta.json",
		} {
			all = append(all, exchange{"GET", target, "", nil})
		}
		all = append(all, exchange{"POST", link, "x", nil}, exchange{"DELETE", link, "", nil}, exchange{"OPTIONS", link, "", nil})
	}
	return all
}

// uploadRequests leave the upload as it is.
func uploadRequests(location string) (all []exchange) {
	tus, piece := []string{"Tus-Resumable", "1.0.0"}, []string{"Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream"}
	with := func(base []string, more ...string) []string { return slices.Concat(base, more) }
	for _, headers := range [][]string{nil, tus, {"Tus-Resumable", "0.2.2"}} {
		all = append(all, exchange{"HEAD", location, "", headers}, exchange{"OPTIONS", location, "", headers}, exchange{"OPTIONS", "/uploads", "", headers},
			exchange{"GET", location, "", headers}, exchange{"PUT", location, "x", headers}, exchange{"POST", "/uploads", "", headers})
	}
	for _, length := range []string{"0", "10", "-1", "x", "10995116277760", "1e3", ""} {
		all = append(all, exchange{"POST", "/uploads", "", with(tus, "Upload-Length", length)})
	}
	all = append(all, exchange{"POST", "/uploads", "", with(tus, "Upload-Length", "5", "Upload-Metadata", "filename !!")},
		exchange{"POST", "/uploads", "hello", with(piece, "Upload-Length", "5")},
		exchange{"POST", "/uploads", "\x00\xff\xfe", with(piece, "Upload-Length", "3")},
		exchange{"POST", "/uploads/", "", with(tus, "Upload-Length", "5")})
	for _, headers := range [][]string{with(piece, "Upload-Offset", "7"), with(piece, "Upload-Offset", "-1"), with(piece, "Upload-Offset", "x"), piece, with(tus, "Upload-Offset", "0")} {
		all = append(all, exchange{"PATCH", location, "12345", headers}, exchange{"POST", location, "12345", with(headers, "X-HTTP-Method-Override", "PATCH")})
	}
	all = append(all, exchange{"PATCH", location, strings.Repeat("x", 11), with(piece, "Upload-Offset", "0")})
	for _, checksum := range []string{"sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "sha1 x", "md5 x", "sha256", ""} {
		all = append(all, exchange{"PATCH", location, "12345", with(piece, "Upload-Offset", "0", "Upload-Checksum", checksum)},
			exchange{"POST", "/uploads", "12345", with(piece, "Upload-Length", "5", "Upload-Checksum", checksum)})
	}
	for _, id := range []string{"x", "..", "%2e%2e", "00000000-0000-7000-8000-000000000000", "A", "%00", "a%20b", "%C3%A4"} {
		all = append(all, exchange{"HEAD", "/uploads/" + id, "", tus}, exchange{"PATCH", "/uploads/" + id, "x", with(piece, "Upload-Offset", "0")},
			exchange{"DELETE", "/uploads/" + id, "", tus}, exchange{"GET", "/uploads/status/" + id, "", nil})
	}
	return append(all, exchange{"GET", "/uploads/status/" + location[strings.LastIndexByte(location, '/')+1:], "", nil})
}

func otherRequests(id string) (all []exchange) {
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS"} {
		for _, target := range []string{"/", "/healthz", "/nothing", "/uploads/finalize", "/media/sign", "/media", "/media/videos/" + id, "/favicon.ico"} {
			all = append(all, exchange{method, target, "", nil})
		}
	}
	long := strings.Repeat("a", 70<<10)
	for _, target := range []string{"/uploads/finalize", "/media/sign"} {
		for _, body := range []string{"", "{}", "[]", "not JSON", `{"x":1}`, `{"a":"` + long + `"}`, "\xff\xfe", `{"videoId":5}`} {
			all = append(all, exchange{"POST", target, body, []string{"Content-Type", "application/json"}})
		}
	}
	for _, path := range []string{"original.mp4", "", "../..", "/etc/hostname", ".hidden", "meta.json", "hls/x.ts", "ä"} {
		for _, expires := range []string{"1", "600", "0", "-1", "0.5", "1e300", `"abc"`, "true", "null"} {
			all = append(all, exchange{"POST", "/media/sign", fmt.Sprintf(`{"videoId":%q,"path":%q,"expiresIn":%s}`, id, path, expires), nil})
		}
	}
	for _, more := range []string{`"bind":"ip"`, `"bind":"city"`, `"bind":null`, `"emergency":{"reason":"long enough as it is"}`, `"emergency":{}`, `"emergency":null`, `"emergency":5`} {
		all = append(all, exchange{"POST", "/media/sign", fmt.Sprintf(`{"videoId":%q,"path":"original.mp4",%s}`, id, more), nil})
	}
	for _, target := range []string{"/videos", "/videos?limit=1", "/videos?limit=0", "/videos?status=transcoded&filename=CLIP", "/videos?cursor=x", "/videos/" + id, "/videos/x"} {
		all = append(all, exchange{"GET", target, "", nil}, exchange{"HEAD", target, "", nil}, exchange{"POST", target, "", nil})
	}
	all = append(all, exchange{"DELETE", "/videos/00000000-0000-7000-8000-000000000000", "", nil})
	for _, target := range []string{"/uploads//x", "/./healthz", "/healthz/", "/%68ealthz", "/..%2f", "/a%00b", "/?x=1&x=2", "/healthz?x=%zz"} {
		all = append(all, exchange{"GET", target, "", nil})
	}
	return all
}

// varying is what two answers to one request differ in: ids, times and what is signed with them.
var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]{10}\.(?:[A-Za-z0-9_-]+\.)?[0-9a-f]{64}|20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z|Upload-Expires: [^\n]* GMT`)

// ofTheGateway are headers that API Gateway makes itself, or answers to a request that was cut short.
var ofTheGateway = []string{"Date", "X-Request-Id", "Connection", "X-Amzn-Remapped-Content-Length", "X-Amzn-Remapped-Connection"}

// raw sends a request as it stands, and returns the answer as text.
func (c client) raw(x exchange) string {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), x.method, c.url, strings.NewReader(x.body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.URL.Opaque = x.target
	for i := 0; i < len(x.headers); i += 2 {
		r.Header.Add(x.headers[i], x.headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatalf("%s %s: %v", x.method, x.target, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, name := range ofTheGateway {
		resp.Header.Del(name)
	}
	if x.method == "HEAD" || len(body) == 0 || bytes.HasPrefix(body, []byte("{")) {
		resp.Header.Del("Content-Length") // an API Gateway tells that of the body it sends
	}
	if len(body) == 0 && resp.Header.Get("Content-Type") == "application/json" {
		resp.Header.Del("Content-Type") // an API Gateway says so of nothing, too
	}
	if _, boundary, found := strings.Cut(resp.Header.Get("Content-Type"), "boundary="); found { // made anew each time
		resp.Header.Set("Content-Type", "multipart/byteranges")
		body = bytes.ReplaceAll(body, []byte(boundary), []byte("boundary"))
	}
	var out bytes.Buffer
	fmt.Fprintln(&out, resp.Status)
	if err := resp.Header.Write(&out); err != nil {
		c.t.Fatal(err)
	}
	if len(body) > 4096 || !utf8.Valid(body) {
		body = fmt.Appendf(nil, "%d bytes, SHA-256 %x", len(body), sha256.Sum256(body))
	}
	out.Write(body)
	return varying.ReplaceAllString(out.String(), "…")
}
