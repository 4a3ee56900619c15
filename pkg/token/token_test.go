package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
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

// What is signed verifies, for this path of this video, until its time; and for no other path, video, time or secret.
func FuzzSign(f *testing.F) {
	f.Add(secret, video, path, video, "hls/240p.m3u8", int64(60), int64(0))
	f.Add(secret+"x", "a", "b/c", "a/b", "c", int64(1), int64(1))
	f.Add(strings.Repeat("\x00", 32), "", "", "", "x", int64(-1), int64(3))
	f.Add(secret, "a", "", "", "a", int64(1<<40), int64(1<<41))
	f.Fuzz(func(t *testing.T, secret, video, path, otherVideo, otherPath string, seconds, later int64) {
		clock := now
		s, err := token.New(secret, "", func() time.Time { return clock })
		if err != nil {
			if len(secret) >= token.MinSecret {
				t.Fatal(err)
			}
			return
		}
		ends := now.Unix() + seconds%(1<<50)
		tok := s.Sign(video, path, time.Unix(ends, 999))
		clock = now.Add(time.Duration(later % (1 << 30) * int64(time.Second)))
		until, ok := s.Verify(tok, video, path)
		if want := ends > 0 && clock.Unix() < ends; ok != want || ok && until.Unix() != ends {
			t.Errorf("%q verifies as %v until %v; it ends at %d and it is %d", tok, ok, until, ends, clock.Unix())
		}
		// No id holds a colon, so no two pairs are hashed as one.
		same := video == otherVideo && path == otherPath || strings.Contains(video+otherVideo, ":")
		if _, ok := s.Verify(tok, otherVideo, otherPath); ok && !same {
			t.Errorf("the token of %q %q is good for %q %q", video, path, otherVideo, otherPath)
		}
		next, err := token.New(secret+"x", secret, func() time.Time { return clock })
		if err != nil {
			t.Fatal(err)
		}
		if _, still := next.Verify(tok, video, path); still != ok {
			t.Errorf("after a change of the secret the token verifies as %v", still)
		}
		if changed, err := token.New(secret+"y", "", func() time.Time { return clock }); err != nil {
			t.Fatal(err)
		} else if _, good := changed.Verify(tok, video, path); good {
			t.Error("the token is good under another secret")
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

// The HMAC is that of the standard library, whatever the length of the secret and of what is signed.
func TestSignatureIsHMAC(t *testing.T) {
	for _, length := range []int{32, 63, 64, 65, 200} {
		secret := strings.Repeat("s", length-1) + "!"
		s, err := token.New(secret, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 200 {
			path := strings.Repeat("p", n)
			unix, signature, _ := strings.Cut(s.Sign(video, path, now), ".")
			h := hmac.New(sha256.New, []byte(secret))
			_, _ = io.WriteString(h, video+":"+path+":"+unix)
			if want := hex.EncodeToString(h.Sum(nil)); signature != want {
				t.Fatalf("secret of %d bytes, path of %d: %s, want %s", length, n, signature, want)
			}
		}
	}
}
