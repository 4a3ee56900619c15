package main_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
)

// A secret is changed while links are out: what was signed under it still plays while the previous one is given, all that is
// handed out meanwhile is signed under the new one, and links of the old one end when it is no longer given.
func TestSecretsAreRotated(t *testing.T) {
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) { wantRotation(newPlace(t)) })
}

func wantRotation(p place) {
	t := p.t
	t.Helper()
	first, next := strings.Repeat("first", 8), strings.Repeat("next!", 8)
	server := p.start("HMAC_SECRET=" + first)
	c := client{t, server.url}
	id := c.send(shortClip(t))
	c.await(id, "transcoded")
	old := c.sign(id, "hls/master.m3u8")
	server.stop()

	server = p.start("HMAC_SECRET="+next, "HMAC_SECRET_PREVIOUS="+first)
	c = client{t, server.url}
	media := c.wantSignedBy(next, id, old)
	c.wantSignedBy(next, id, media)
	fresh := c.sign(id, "hls/master.m3u8")
	c.wantSignedBy(next, id, fresh)
	server.stop()

	c = client{t, p.start("HMAC_SECRET=" + next).url}
	c.do(401, "GET", old, nil)
	c.wantSignedBy(next, id, media)
	c.do(200, "GET", fresh, nil)
}

// wantSignedBy plays a playlist, whose tokens must be signed under a secret, and returns the first address in it. Links to
// a bucket have no tokens of ours.
func (c client) wantSignedBy(secret, videoID, link string) (first string) {
	c.t.Helper()
	base, err := url.Parse(link)
	if err != nil {
		c.t.Fatal(err)
	}
	playlist := string(c.do(200, "GET", link, nil).body)
	for line := range strings.Lines(playlist) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "http") {
			continue
		}
		target, err := base.Parse(line)
		if err != nil {
			c.t.Fatal(err)
		}
		_, path, _ := strings.Cut(target.Path, videoID+"/")
		expires, signature, _ := strings.Cut(target.Query().Get("token"), ".")
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(videoID + ":" + path + ":" + expires))
		if signature != hex.EncodeToString(mac.Sum(nil)) {
			c.t.Errorf("%s is not signed under the secret of now", line)
		}
		c.do(200, "GET", target.String(), nil)
		if first == "" {
			first = target.String()
		}
	}
	if first == "" && !strings.Contains(playlist, "http") {
		c.t.Errorf("nothing is signed in\n%s", playlist)
	}
	return first
}
