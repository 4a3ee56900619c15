package main_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
)

// keysCommand runs pulsevault keys and returns what it says on standard output.
func keysCommand(t *testing.T, root string, settings []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"keys"}, args...)...)
	cmd.Dir = t.TempDir() // where there is no .env
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "MEDIA_ROOT=" + root}, settings...)
	out, err := cmd.Output()
	return string(out), err
}

// A key is made while nothing runs, opens every process from then on, and none a second after it is revoked; nor do the links
// that it has signed. It stands nowhere but where its owner has put it. So it is where the keys are in a folder, and where
// they are in a bucket and the processes have no folder in common.
func TestKeysEndEverywhere(t *testing.T) {
	t.Run("folder", func(t *testing.T) {
		root := t.TempDir()
		wantKeysEnd(t, [4]string{root, root, root, root}, root, redisSettings(t))
	})
	t.Run("bucket", func(t *testing.T) {
		bucket := mediatest.StartS3(t)
		wantKeysEnd(t, [4]string{t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()}, bucket.Folder(), append(bucket.Settings(), redisSettings(t)...))
		if _, err := os.Stat(filepath.Join(bucket.Folder(), filepath.FromSlash(media.KeysKey))); err != nil {
			t.Errorf("the keys are not in the bucket: %v", err)
		}
	})
}

// wantKeysEnd is the life of a key, on two servers, the functions, and the command line, each with a MEDIA_ROOT. kept is the folder
// of what is kept.
func wantKeysEnd(t *testing.T, roots [4]string, kept string, settings []string) {
	t.Helper()
	settings = append(settings, "AUTH_MODE=apikey", "HMAC_SECRET="+strings.Repeat("s", 32), "TRANSCODE_ENABLED=false")
	command := func(args ...string) (string, error) { return keysCommand(t, roots[3], settings, args...) }
	shown, err := command("create", "--name", "test", "--role", "uploader", "--expires", "90d")
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(shown)
	if len(key) != 55 || !strings.HasPrefix(key, "pv_") {
		t.Fatalf("made %q", shown)
	}
	id := key[3:11]
	processes := []client{{t, start(t, "serve", roots[0], settings...).url}, {t, start(t, "serve", roots[1], settings...).url}, {t, start(t, "emulate", roots[2], settings...).url}}
	owner := client{t, withKey(t, processes[0].url, key)}
	link := owner.sign(owner.send(shortClip(t)), "original.mp4")
	create := []string{"Tus-Resumable", "1.0.0", "Upload-Length", "10", "Authorization", "Bearer " + key}
	for _, c := range processes {
		c.do(http.StatusCreated, "POST", "/uploads", nil, create...)
		c.do(http.StatusUnauthorized, "POST", "/uploads", nil, create[:4]...)
		c.do(http.StatusOK, "GET", link, nil)
	}
	list, err := command("list")
	if err != nil || !strings.Contains(list, id) || !strings.Contains(list, "test") || !strings.Contains(list, "active") || strings.Contains(list, key[12:]) {
		t.Errorf("listed %s, %v", list, err)
	}
	if _, err := command("revoke", id); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // which is what is promised
	for _, c := range processes {
		c.do(http.StatusUnauthorized, "POST", "/uploads", nil, create...)
		c.do(http.StatusUnauthorized, "GET", link, nil)
	}
	var keys []struct{ ID, State, Key string }
	list, err = command("list", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(list), &keys)
	}
	if err != nil || len(keys) != 1 || keys[0].ID != id || keys[0].State != "revoked" || keys[0].Key != "" {
		t.Errorf("listed %s, %v", list, err)
	}
	if _, err := command("revoke", id); err == nil {
		t.Error("a key is revoked twice")
	}
	for _, root := range append(roots[:], kept) {
		wantNowhere(t, root, key[12:])
	}
	verifyAudit(t, roots[0], settings...)
	wantOnce(t, kept, "key.created")
	wantOnce(t, kept, "key.revoked")
}

// wantNowhere looks for a secret in every file.
func wantNowhere(t *testing.T, root, secret string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var data []byte
			if data, err = os.ReadFile(path); strings.Contains(string(data), secret) {
				t.Errorf("%s holds a key", path)
			}
		}
		if errors.Is(err, fs.ErrNotExist) && path != root { // files come and go meanwhile
			return nil
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestKeysThatCannotBeMade(t *testing.T) {
	for name, args := range map[string][]string{
		"no name":      {"create", "--role", "viewer"},
		"no role":      {"create", "--name", "x"},
		"unknown role": {"create", "--name", "x", "--role", "root"},
		"ended before": {"create", "--name", "x", "--role", "viewer", "--expires", "0d"},
		"no time":      {"create", "--name", "x", "--role", "viewer", "--expires", "soon"},
		"a newline":    {"create", "--name", "x\ny", "--role", "viewer"},
		"no such key":  {"revoke", "0badc0de"},
	} {
		if out, err := keysCommand(t, t.TempDir(), nil, args...); err == nil || strings.Contains(out, "pv_") {
			t.Errorf("%s: %s", name, out)
		}
	}
}
