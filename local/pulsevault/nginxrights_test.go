package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/media"
)

// What is in the cache is for nobody without a good link, and the refusal is the server's, to the letter. So it is when the
// link's key is revoked, when it is asked for from elsewhere, and when the video has been deleted.
func TestNginxGivesNothingFromTheCacheWithoutARight(t *testing.T) {
	f := startFront(t, "TOKEN_EXPIRY_SECONDS=2")
	id := f.store(1000, anHLS())
	const name = "hls/240p_000.ts"
	brief := f.sign(id, name)
	link := f.signFor(id, name, f.key, `,"expiresIn":600`)
	key, err := keysCommand(t, f.root, nil, "create", "--name", "guest", "--role", "viewer")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // in which the server reads it
	guest := f.signFor(id, name, strings.TrimSpace(key), `,"expiresIn":600`)
	bound := f.signFor(id, name, f.key, `,"expiresIn":600,"bind":"ip"`)
	for _, status := range []string{"MISS", "HIT"} {
		if a := f.do(200, "GET", link, nil); a.header.Get("X-Cache-Status") != status {
			t.Fatalf("%s, want %s", a.header.Get("X-Cache-Status"), status)
		}
	}
	f.do(200, "GET", guest, nil)
	address, token, _ := strings.Cut(link, "?token=")
	for why, target := range map[string]string{
		"no token": address, "a wrong one": link + "0", "two": link + "&token=" + token, "another path's": strings.Replace(link, "240p_000.ts", "240p_001.ts", 1),
		"another video's": strings.Replace(link, id, "f"+id[1:], 1),
	} {
		f.wantRefused(why, 401, target)
	}
	if _, err := keysCommand(t, f.root, nil, "revoke", strings.TrimSpace(key)[3:11]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // in which keys are read again, and the brief link ends
	f.wantRefused("a revoked key", 401, guest)
	f.wantRefused("an expired link", 401, brief)
	f.wantRefused("a bound link", 401, bound, "X-Forwarded-For", "198.51.100.7")
	f.wantRefused("no such file", 404, f.signFor(id, "hls/240p_999.ts", f.key, `,"expiresIn":600`))
	if a := f.do(200, "GET", link, nil); a.header.Get("X-Cache-Status") != "HIT" {
		t.Errorf("%v", a.header)
	}
	f.do(204, "DELETE", "/videos/"+id, nil)
	f.wantRefused("a deleted video", 404, link)
	if kept := f.kept(); kept == 0 {
		t.Error("nothing was left in the cache to be refused")
	}
}

// Behind nginx a link is bound to the address that nginx has seen, and not to one that somebody says of themselves: neither when it
// is signed nor when it is used, in the cache or not, and for a playlist as for what nginx asks about.
func TestNginxKnowsWhereALinkIsBoundTo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("NOT TESTED: here this machine has one address of its own only, so nobody can come from another")
	}
	f := startFront(t)
	id := f.store(1000, anHLS())
	home, away := f.comingFrom("127.0.0.2"), f.comingFrom("127.0.0.3")
	for _, path := range []string{"hls/240p_000.ts", "hls/master.m3u8", "original.mp4"} {
		for _, said := range []string{"", "127.0.0.3", "127.0.0.1"} {
			status, body := home("POST", "/media/sign", fmt.Sprintf(`{"videoId":%q,"path":%q,"bind":"ip"}`, id, path), said)
			var link struct{ URL string }
			if err := json.Unmarshal([]byte(body), &link); err != nil || status != 200 {
				t.Fatal(status, body, err)
			}
			for _, says := range []string{"", "127.0.0.1", "127.0.0.3"} {
				if status, body := home("GET", link.URL, "", says); status != 200 {
					t.Errorf("%s, signed from home saying %q, from home saying %q: %d %s", path, said, says, status, body)
				}
			}
			for _, says := range []string{"", "127.0.0.1", "127.0.0.2", "127.0.0.2, 127.0.0.1"} {
				if status, body := away("GET", link.URL, "", says); status != 401 {
					t.Errorf("%s, signed from home saying %q, from elsewhere saying %q: %d %.200s", path, said, says, status, body)
				}
			}
		}
	}
}

// comingFrom asks nginx from an address of this machine, saying something of it in X-Forwarded-For.
func (f *front) comingFrom(address string) (ask func(method, target, body, says string) (status int, text string)) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	return func(method, target, body, says string) (int, string) {
		f.t.Helper()
		r, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.plain+target, strings.NewReader(body))
		if err != nil {
			f.t.Fatal(err)
		}
		if r.Header.Set("Authorization", "Bearer "+f.key); says != "" {
			r.Header.Set("X-Forwarded-For", says)
		}
		resp, err := client.Do(r)
		if err != nil {
			f.t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			f.t.Fatal(err)
		}
		return resp.StatusCode, string(data)
	}
}

// signFor is a link that a key is given, with further members of the request.
func (f *front) signFor(id, path, key, more string) string {
	f.t.Helper()
	a := f.do(200, "POST", "/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":%q,"path":%q%s}`, id, path, more)), "Authorization", "Bearer "+key)
	_, link, _ := strings.Cut(string(a.body), `"url":"`)
	link, _, _ = strings.Cut(link, `"`)
	return link
}

// wantRefused compares a refusal with that of the server. HEAD hears the same without the words.
func (f *front) wantRefused(why string, status int, target string, headers ...string) {
	f.t.Helper()
	a, direct := f.do(status, "GET", target, nil, headers...), f.direct.do(status, "GET", target, nil, headers...)
	if wordsOf(a) != wordsOf(direct) || a.header.Get("X-Cache-Status") != "BYPASS" {
		f.t.Errorf("%s: %s %s, and the server says %s", why, a.header.Get("X-Cache-Status"), a.body, direct.body)
	}
	for _, header := range []string{"Content-Type", "Cache-Control", "ETag"} {
		if a.header.Get(header) != direct.header.Get(header) {
			f.t.Errorf("%s: %s %q, of the server %q", why, header, a.header.Get(header), direct.header.Get(header))
		}
	}
	f.do(status, "HEAD", target, nil, headers...)
}

// wordsOf is the body of an answer, but for the id of its request.
func wordsOf(a answer) string {
	return strings.ReplaceAll(string(a.body), a.header.Get("X-Request-Id"), "")
}

// A link of an emergency leaves nothing with the client, even where others have filled the cache.
func TestNginxTellsEachClientWhatItMayKeep(t *testing.T) {
	f := startFront(t)
	id := f.store(1000, anHLS())
	const name = "hls/240p_000.ts"
	f.do(200, "GET", f.sign(id, name), nil)
	urgent := f.signFor(id, name, f.key, `,"emergency":{"reason":"she is in surgery now"}`)
	for link, want := range map[string]string{urgent: "private, no-store", f.sign(id, name): media.CacheControl} {
		if a := f.do(200, "GET", link, nil); a.header.Get("X-Cache-Status") != "HIT" || a.header.Get("Cache-Control") != want {
			t.Errorf("%s, Cache-Control %q, want %q", a.header.Get("X-Cache-Status"), a.header.Get("Cache-Control"), want)
		}
	}
}

// No request from outside reaches what is inside, or says that nginx has asked when it has not.
func TestNginxKeepsInsideWhatIsInside(t *testing.T) {
	f := startFront(t)
	id := f.store(1000, anHLS())
	link := f.sign(id, "hls/240p_000.ts")
	told := f.direct.do(204, "GET", "/internal/media/authorize", nil, "X-Original-URI", link, "X-Original-Method", "GET")
	proof := told.header.Get("X-Media-Proof")
	address, _, _ := strings.Cut(link, "?")
	f.direct.do(200, "GET", address, nil, "X-Media-Proof", proof) // which is why a client must not get through with one
	for _, target := range []string{address, strings.Replace(address, ".ts", ".m3u8", 1), strings.Replace(address, "hls/", "hls/./", 1)} {
		if a, err := f.try("GET", target, nil, "X-Media-Proof", proof); err != nil || a.status == http.StatusOK {
			t.Errorf("%s with a proof that a client sends: %d, %v", target, a.status, err)
		}
	}
	for _, target := range []string{"/internal/media/authorize", "/internal", "/internal/", "/internal/x", "//internal/media/authorize", "/x/../internal/media/authorize", "/%69nternal/media/authorize", "/internal%2fmedia/authorize"} {
		a, err := f.try("GET", target, nil, "X-Original-URI", link, "X-Original-Method", "GET")
		if err != nil || a.status != http.StatusNotFound || a.header.Get("X-Media-Proof") != "" {
			t.Errorf("%s: %d %v, %v", target, a.status, a.header, err)
		}
	}
}
