package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/token"
)

const (
	secret = "0123456789abcdef0123456789abcdef"
	video  = "0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f"
	path   = "hls/master.m3u8"
)

var now = time.Unix(1_700_000_000, 500_000_000)

func signer(t *testing.T, secret, previous string) *token.Signer {
	t.Helper()
	s, err := token.New(secret, previous, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFormatIsTheDocumentedOne(t *testing.T) {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s:%s:%d", video, path, 1_700_000_300)
	want := "1700000300." + hex.EncodeToString(mac.Sum(nil))
	got := signer(t, secret, "").Sign(video, path, now.Add(300*time.Second))
	if got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	s := signer(t, secret, "")
	good := s.Sign(video, path, now.Add(time.Minute))
	ended := s.Sign(video, path, now.Add(-time.Second))
	unix, signature, _ := strings.Cut(good, ".")
	for name, tc := range map[string]struct {
		token, video, path string
		ok                 bool
	}{
		"good":               {good, video, path, true},
		"none":               {"", video, path, false},
		"dot":                {".", video, path, false},
		"no expiry":          {"." + signature, video, path, false},
		"no signature":       {unix + ".", video, path, false},
		"another path":       {good, video, "hls/240p.m3u8", false},
		"another video":      {good, "0190b2e0-7f1c-7cc3-98c4-dc0c0c073990", path, false},
		"ended by a second":  {ended, video, path, false},
		"ends this second":   {s.Sign(video, path, now), video, path, false},
		"suffix":             {good + "0", video, path, false},
		".x appended":        {good + ".x", video, path, false},
		"upper-case hex":     {unix + "." + strings.ToUpper(signature), video, path, false},
		"later expiry":       {"1700009999." + signature, video, path, false},
		"leading zero":       {"0" + good, video, path, false},
		"plus sign":          {"+" + good, video, path, false},
		"space":              {" " + good, video, path, false},
		"colon moved":        {good, video + ":hls", "master.m3u8", false},
		"twice":              {good + good, video, path, false},
		"very long":          {strings.Repeat("1", 1<<16) + good, video, path, false},
		"expiry of 30 digit": {strings.Repeat("9", 30) + "." + signature, video, path, false},
	} {
		t.Run(name, func(t *testing.T) {
			until, ok := s.Verify(tc.token, tc.video, tc.path)
			if ok != tc.ok {
				t.Errorf("Verify = %v, want %v", ok, tc.ok)
			}
			if ok && until.Unix() != now.Unix()+60 {
				t.Errorf("ends at %v", until)
			}
		})
	}
}

func TestSecretCanBeRotated(t *testing.T) {
	next := strings.Repeat("n", token.MinSecret)
	old := signer(t, secret, "").Sign(video, path, now.Add(time.Minute))
	if _, ok := signer(t, next, secret).Verify(old, video, path); !ok {
		t.Error("a link signed under the previous secret is refused while that is still given")
	}
	if _, ok := signer(t, next, "").Verify(old, video, path); ok {
		t.Error("a link signed under a forgotten secret is accepted")
	}
	fresh := signer(t, next, secret).Sign(video, path, now.Add(time.Minute))
	if _, ok := signer(t, secret, "").Verify(fresh, video, path); ok {
		t.Error("links are still signed under the previous secret")
	}
}

func TestShortSecretIsRefused(t *testing.T) {
	if _, err := token.New(secret[1:], "", nil); err == nil {
		t.Error("a secret of 31 bytes is accepted")
	}
}

func FuzzVerify(f *testing.F) {
	s, err := token.New(secret, "", func() time.Time { return now })
	if err != nil {
		f.Fatal(err)
	}
	good := s.Sign(video, path, now.Add(time.Minute))
	for _, seed := range []string{good, "", ".", good + ".x", strings.ToUpper(good), "0." + strings.Repeat("0", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tok string) {
		if _, ok := s.Verify(tok, video, path); ok && tok != good {
			t.Errorf("%q is accepted", tok)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	s, err := token.New(secret, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Sign(video, path, now)
	}
}
