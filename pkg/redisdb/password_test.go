package redisdb_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pulsevault/pkg/redisdb/redistest"
)

// The password of a Redis is changed while it accepts both: connections that are open go on, and new ones show the password that
// the file has then. When the one of before is refused, nobody notices.
func TestPasswordChangesUnderway(t *testing.T) {
	server := redistest.Start(t)
	o := server.Options()
	admin := redistest.Client(t, o)
	acl := func(rules ...any) {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "default"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Ping(t.Context()).Err(); err != nil { // its connection stays
		t.Fatal(err)
	}
	acl("resetpass", ">first")
	o.PasswordFile = filepath.Join(t.TempDir(), "password")
	put := func(lines string) {
		t.Helper()
		if err := os.WriteFile(o.PasswordFile, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first\n")
	before := redistest.Client(t, o)
	wantAnswers := func(when string) {
		t.Helper()
		if err := before.Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s, a client of before: %v", when, err)
		}
		if err := redistest.Client(t, o).Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s, a new client: %v", when, err)
		}
	}
	wantAnswers("at first")
	acl(">next")
	wantAnswers("with both")
	put("next\nfirst\n")
	wantAnswers("with both, the next one first")
	acl("<first")
	put("next\n")
	wantAnswers("with the next one only")
	old := o
	old.PasswordFile, old.Password = "", "first"
	if err := redistest.Client(t, old).Ping(t.Context()).Err(); err == nil {
		t.Error("the password of before still opens it")
	}
	if err := os.Remove(o.PasswordFile); err != nil {
		t.Fatal(err)
	}
	if err := redistest.Client(t, o).Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "file of secrets") {
		t.Errorf("without the file: %v", err)
	}
}
