package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"go/types"
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
	got := signer(t, secret, "").Sign("", video, path, now.Add(300*time.Second))
	if got != want {
		t.Errorf("Sign = %s, want %s", got, want)
	}
}

func TestVerify(t *testing.T) {
	s := signer(t, secret, "")
	good := s.Sign("", video, path, now.Add(time.Minute))
	ended := s.Sign("", video, path, now.Add(-time.Second))
	unix, signature, _ := strings.Cut(good, ".")
	for name, tc := range map[string]struct {
		token, video, path string
		err                error
	}{
		"good":               {good, video, path, nil},
		"none":               {"", video, path, token.ErrNotGenuine},
		"dot":                {".", video, path, token.ErrNotGenuine},
		"no expiry":          {"." + signature, video, path, token.ErrNotGenuine},
		"no signature":       {unix + ".", video, path, token.ErrNotGenuine},
		"another path":       {good, video, "hls/240p.m3u8", token.ErrNotGenuine},
		"another video":      {good, "0190b2e0-7f1c-7cc3-98c4-dc0c0c073990", path, token.ErrNotGenuine},
		"ended by a second":  {ended, video, path, token.ErrEnded},
		"ends this second":   {s.Sign("", video, path, now), video, path, token.ErrEnded},
		"suffix":             {good + "0", video, path, token.ErrNotGenuine},
		".x appended":        {good + ".x", video, path, token.ErrNotGenuine},
		"upper-case hex":     {unix + "." + strings.ToUpper(signature), video, path, token.ErrNotGenuine},
		"later expiry":       {"1700009999." + signature, video, path, token.ErrNotGenuine},
		"leading zero":       {"0" + good, video, path, token.ErrNotGenuine},
		"plus sign":          {"+" + good, video, path, token.ErrNotGenuine},
		"space":              {" " + good, video, path, token.ErrNotGenuine},
		"colon moved":        {good, video + ":hls", "master.m3u8", token.ErrNotGenuine},
		"twice":              {good + good, video, path, token.ErrNotGenuine},
		"very long":          {strings.Repeat("1", 1<<16) + good, video, path, token.ErrNotGenuine},
		"expiry of 30 digit": {strings.Repeat("9", 30) + "." + signature, video, path, token.ErrNotGenuine},
	} {
		t.Run(name, func(t *testing.T) {
			grant, err := s.Verify(tc.token, tc.video, tc.path)
			if !errors.Is(err, tc.err) {
				t.Errorf("Verify = %v, want %v", err, tc.err)
			}
			if err == nil && (grant.ExpiresAt.Unix() != now.Unix()+60 || grant.Sealed != "" || grant.Claims != (token.Claims{})) {
				t.Errorf("says %+v", grant)
			}
			if errors.Is(err, token.ErrNotGenuine) && grant != (token.Grant{}) {
				t.Errorf("%+v is believed", grant)
			}
		})
	}
}

func TestSecretCanBeRotated(t *testing.T) {
	next := strings.Repeat("n", token.MinSecret)
	old := signer(t, secret, "").Sign("", video, path, now.Add(time.Minute))
	if _, err := signer(t, next, secret).Verify(old, video, path); err != nil {
		t.Error("a link signed under the previous secret is refused while that is still given")
	}
	if _, err := signer(t, next, "").Verify(old, video, path); err == nil {
		t.Error("a link signed under a forgotten secret is accepted")
	}
	fresh := signer(t, next, secret).Sign("", video, path, now.Add(time.Minute))
	if _, err := signer(t, secret, "").Verify(fresh, video, path); err == nil {
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
	good := s.Sign("", video, path, now.Add(time.Minute))
	claimed := s.Sign(seal(f, drNo), video, path, now.Add(time.Minute))
	signature := good[len(good)-64:]
	for _, seed := range []string{
		good, "", ".", good + ".x", strings.ToUpper(good), "0." + strings.Repeat("0", 64), claimed, claimed + ".", "." + claimed, strings.ToUpper(claimed),
		"1700000060.." + signature, "1700000060.eyJ." + signature, "1700000060.eyJ1Ijoicm9vdCJ9." + signature, strings.Replace(claimed, ".eyJ", ".eyI", 1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, tok string) {
		if _, err := s.Verify(tok, video, path); err == nil && tok != good && tok != claimed {
			t.Errorf("%q is accepted", tok)
		}
	})
}

// What is signed verifies, for this path of this video, until its time; and for no other path, video, time or secret.
func FuzzSign(f *testing.F) {
	f.Add(secret, "", video, path, video, "hls/240p.m3u8", int64(60), int64(0))
	f.Add(secret+"x", "ann", "a", "b/c", "a/b", "c", int64(1), int64(1))
	f.Add(strings.Repeat("\x00", 32), "", "", "", "", "x", int64(-1), int64(3))
	f.Add(secret, "\"\\<ä\u2028", "a", "", "", "a", int64(1<<40), int64(1<<41))
	f.Fuzz(func(t *testing.T, secret, user, video, path, otherVideo, otherPath string, seconds, later int64) {
		clock := now
		s, err := token.New(secret, "", func() time.Time { return clock })
		if err != nil {
			if len(secret) >= token.MinSecret {
				t.Fatal(err)
			}
			return
		}
		claims := token.Claims{KeyID: "k" + user, User: user}
		sealed, err := claims.Seal()
		if err != nil { // nobody, no UTF-8, or too long
			claims, sealed = token.Claims{}, ""
		}
		ends := now.Unix() + seconds%(1<<50)
		tok := s.Sign(sealed, video, path, time.Unix(ends, 999))
		clock = now.Add(time.Duration(later % (1 << 30) * int64(time.Second)))
		grant, err := s.Verify(tok, video, path)
		if want := ends > 0 && clock.Unix() < ends; (err == nil) != want || err == nil && (grant.ExpiresAt.Unix() != ends || grant.Claims != claims || grant.Sealed != sealed) {
			t.Errorf("%q verifies as %v with %+v; it ends at %d and it is %d", tok, err, grant, ends, clock.Unix())
		}
		// No id holds a colon, so no two pairs are hashed as one.
		same := video == otherVideo && path == otherPath || strings.Contains(video+otherVideo, ":")
		if _, err := s.Verify(tok, otherVideo, otherPath); err == nil && !same {
			t.Errorf("the token of %q %q is good for %q %q", video, path, otherVideo, otherPath)
		}
		next, err := token.New(secret+"x", secret, func() time.Time { return clock })
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Verify(tok, video, path)
		if _, still := next.Verify(tok, video, path); !errors.Is(still, err) {
			t.Errorf("after a change of the secret the token verifies as %v", still)
		}
		if changed, err := token.New(secret+"y", "", func() time.Time { return clock }); err != nil {
			t.Fatal(err)
		} else if _, err := changed.Verify(tok, video, path); err == nil {
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
		s.Sign("", video, path, now)
	}
}

// BenchmarkVerify reads a token in each of its forms.
func BenchmarkVerify(b *testing.B) {
	s, err := token.New(secret, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, sealed := range map[string]token.Sealed{"anonymous": "", "claims": seal(b, drNo)} {
		tok := s.Sign(sealed, video, path, time.Now().Add(time.Hour))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Verify(tok, video, path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A refusal takes the same steps however much of a signature is right: it is compared whole, in constant time, and with nothing else,
// and the loop over the secrets has no way out.
func TestARefusalDoesTheSameForEveryToken(t *testing.T) {
	s := signer(t, secret, strings.Repeat("p", 32))
	for _, good := range []string{s.Sign("", video, path, now.Add(time.Minute)), s.Sign(seal(t, drNo), video, path, now.Add(time.Minute))} {
		begin := len(good) - 64
		for right := range 64 {
			guess := good[:begin+right] + other(good[begin+right]) + good[begin+right+1:]
			if right%2 == 0 { // nothing that follows is right either
				guess = good[:begin+right] + strings.Repeat(other(good[begin+right]), 64-right)
			}
			if _, err := s.Verify(guess, video, path); !errors.Is(err, token.ErrNotGenuine) {
				t.Fatalf("with %d digits right: %v", right, err)
			}
		}
	}
	wantConstantTime(t, "token.go")
}

// wantConstantTime reads how Verify treats a signature.
func wantConstantTime(t *testing.T, file string) {
	t.Helper()
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "Verify" {
			continue
		}
		var uses, allowed int
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if n.Name == "signature" {
					uses++
				}
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					if name, ok := left.(*ast.Ident); ok && name.Name == "signature" {
						allowed++
					}
				}
			case *ast.CallExpr:
				if types.ExprString(n.Fun) == "subtle.ConstantTimeCompare" && types.ExprString(n.Args[1]) == "[]byte(signature)" {
					allowed, compared = allowed+1, compared+1
				}
			case *ast.RangeStmt:
				ast.Inspect(n.Body, func(inner ast.Node) bool {
					switch inner.(type) {
					case *ast.ReturnStmt, *ast.BranchStmt, *ast.IfStmt:
						t.Error("what Verify does with one secret depends on the other")
					}
					return true
				})
			}
			return true
		})
		if uses != allowed {
			t.Errorf("Verify uses a signature %d times, %d of them to compare it in constant time", uses, allowed)
		}
	}
	if compared == 0 {
		t.Error("Verify compares no signature in constant time")
	}
}

// BenchmarkRefuse takes tokens of one length that are wrong in different places: it costs the same.
func BenchmarkRefuse(b *testing.B) {
	s, err := token.New(secret, "", nil)
	if err != nil {
		b.Fatal(err)
	}
	good := s.Sign(seal(b, drNo), video, path, time.Now().Add(time.Hour))
	n := len(good)
	for name, tok := range map[string]string{
		"first digit": good[:n-64] + other(good[n-64]) + good[n-63:], "last digit": good[:n-1] + other(good[n-1]), "claims": strings.Replace(good, ".eyJr", ".eyJs", 1),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Verify(tok, video, path); err == nil {
					b.Fatal("it is accepted")
				}
			}
		})
	}
}

// other is another digit.
func other(digit byte) string {
	if digit == '0' {
		return "1"
	}
	return "0"
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
			unix, signature, _ := strings.Cut(s.Sign("", video, path, now), ".")
			h := hmac.New(sha256.New, []byte(secret))
			_, _ = io.WriteString(h, video+":"+path+":"+unix)
			if want := hex.EncodeToString(h.Sum(nil)); signature != want {
				t.Fatalf("secret of %d bytes, path of %d: %s, want %s", length, n, signature, want)
			}
		}
	}
}

// What is signed for one use is nothing in another, nor is the secret that it was derived from.
func TestDerivedSecretsAreOthers(t *testing.T) {
	// printf %s "a use" | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
	if got := token.Derive(secret, "a use"); got != "634cd8db96df034880db29fecea082acf4ee3206a45f1155647f6fa54b583008" {
		t.Errorf("derived is %s", got)
	}
	if token.Derive(secret, "another") == token.Derive(secret, "a use") || token.Derive("", "a use") != "" {
		t.Error("two uses have one secret, or no secret is one")
	}
}
