package main_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/token"
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

// The secret of links and the password of Redis are changed under a server and a worker that run and are used all the while.
func TestSecretsAreRotatedUnderway(t *testing.T) {
	redis := redistest.Start(t)
	admin := redistest.Client(t, redis.Options())
	acl := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "default"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Ping(t.Context()).Err(); err != nil { // its connection stays
		t.Fatal(err)
	}
	dir, first, next := t.TempDir(), strings.Repeat("first", 8), strings.Repeat("next!", 8)
	acl("resetpass", ">"+first)
	put := func(name string, lines ...string) {
		t.Helper()
		fresh := filepath.Join(dir, ".new")
		if err := os.WriteFile(fresh, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * token.LookEvery)
	}
	put("hmac", first)
	put("redis", first)
	host, port, _ := strings.Cut(redis.Options().Addr, ":")
	settings := []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port, "HMAC_SECRET_FILE=" + filepath.Join(dir, "hmac"), "REDIS_PASSWORD_FILE=" + filepath.Join(dir, "redis")}
	root := t.TempDir()
	server := start(t, "serve", root, append(settings, "WORKER_CONCURRENCY=0")...)
	start(t, "worker", root, settings...)
	c := client{t, server.url}
	id := c.send(shortClip(t))
	c.await(id, "transcoded")
	old := c.sign(id, "hls/master.m3u8")

	put("hmac", first, next)
	c.wantSignedBy(first, id, old)
	put("hmac", next, first)
	media := c.wantSignedBy(next, id, old)
	put("hmac", next)
	c.do(401, "GET", old, nil)
	c.wantSignedBy(next, id, media)

	put("redis", first, next)
	acl(">" + next)
	put("redis", next, first)
	acl("<" + first)
	put("redis", next)
	if err := admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err) // whoever is left with a connection of before gets no other by its password
	}
	stale := redistest.Client(t, redis.Options())
	if err := stale.Do(t.Context(), "AUTH", first).Err(); err == nil {
		t.Error("the password of before still opens Redis")
	}
	c.do(200, "GET", "/readyz", nil)
	c.await(c.send(shortClip(t)), "transcoded")
	server.stop()
	verifyAudit(t, root, settings...)
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
