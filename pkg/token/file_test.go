package token_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/token"
)

// put renames a file with these secrets over path, and waits until whoever signs must have noticed.
func put(t *testing.T, path string, secrets ...string) {
	t.Helper()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
	time.Sleep(token.LookEvery)
}

// Two processes that share a file, each at its own pace, accept each other's tokens and those of before at every step of a change.
func TestSecretsOfAFileChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hmac")
	first, next := strings.Repeat("first", 8), strings.Repeat("next!", 8)
	put(t, file, first)
	open := func(use string) *token.Signer {
		f, err := token.OpenFile(file, func() time.Time { return now }, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Signer(use)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, proofs := open(""), open(""), open("proofs")
	sign := func(s *token.Signer) string { return s.Sign("", video, path, now.Add(time.Minute)) }
	wantGood := func(s *token.Signer, tok string) {
		t.Helper()
		if _, err := s.Verify(tok, video, path); err != nil {
			t.Errorf("Verify: %v", err)
		}
	}
	old := sign(a)
	if want := sign(signer(t, first, "")); old != want {
		t.Errorf("Sign = %s, want %s", old, want)
	}

	put(t, file, first, next)
	if got := sign(a); got != old {
		t.Error("the next secret signs before everybody accepts it")
	}
	wantGood(b, sign(signer(t, next, "")))

	put(t, file, next, first)
	fresh := sign(a)
	if want := sign(signer(t, next, "")); fresh != want {
		t.Errorf("Sign = %s, want %s", fresh, want)
	}
	for _, tok := range []string{old, fresh} {
		wantGood(a, tok)
		wantGood(b, tok)
	}
	wantGood(proofs, sign(signer(t, token.Derive(first, "proofs"), "")))
	if want := sign(signer(t, token.Derive(next, "proofs"), "")); sign(proofs) != want {
		t.Error("what has a use of its own is not signed by what is derived for it")
	}

	put(t, file, next)
	wantGood(b, fresh)
	if _, err := b.Verify(old, video, path); !errors.Is(err, token.ErrNotGenuine) {
		t.Errorf("under a secret that was left out: %v", err)
	}
}

// A file that is gone, empty or half written changes nothing; at the start it is refused.
func TestAFileOfSecretsThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hmac")
	quiet := slog.New(slog.NewTextHandler(t.Output(), nil))
	if _, err := token.OpenFile(file, nil, quiet); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	put(t, file, secret)
	f, err := token.OpenFile(file, func() time.Time { return now }, quiet)
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.Signer("")
	if err != nil {
		t.Fatal(err)
	}
	good := s.Sign("", video, path, now.Add(time.Minute))
	wantGood := func(tok string) {
		t.Helper()
		if _, err := s.Verify(tok, video, path); err != nil {
			t.Errorf("Verify: %v", err)
		}
	}
	for _, damaged := range [][]string{{""}, {secret[1:]}, {secret + "x", "short"}, {strings.Repeat("x", 20_000)}} {
		put(t, file, damaged...)
		wantGood(good)
		if got := s.Sign("", video, path, now.Add(time.Minute)); got != good {
			t.Errorf("after %.40q another secret signs", damaged)
		}
		_, err := token.OpenFile(file, nil, quiet)
		if err == nil || strings.Contains(err.Error(), secret[1:]) {
			t.Errorf("a file with %.40q: %v", damaged, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	time.Sleep(token.LookEvery)
	wantGood(good)
	put(t, file, secret+"x", "", " "+secret)
	wantGood(good)
	if got := s.Sign("", video, path, now.Add(time.Minute)); got == good {
		t.Error("a file that is good again is not noticed")
	}
}
