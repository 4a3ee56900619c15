package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/token"
)

var drNo = token.Claims{KeyID: "a1b2c3d4", User: "dr-no"}

func seal(t testing.TB, c token.Claims) token.Sealed {
	t.Helper()
	sealed, err := c.Seal()
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// The signatures are what openssl said to what the package comment has, and basenc to the claims.
func TestFormsAreThoseOfOpenSSL(t *testing.T) {
	s := signer(t, secret, "")
	for claims, want := range map[token.Claims]string{
		{}:   "1700000000.778285b063ec003dec2a6ff0bd102f5d35a4b8c7223ce5001abcf8588f266df6",
		drNo: "1700000000.eyJrIjoiYTFiMmMzZDQiLCJ1IjoiZHItbm8ifQ.d53fc5a49773d60262a60135667c38a527410643e01e041ef84b75ba3da38a52",
		{KeyID: "a1b2c3d4", User: "dr-no", Bind: "203.0.113.9", Emergency: "0193a5c0-7d2e-7000-8000-000000000001"}: "1700000000." +
			"eyJrIjoiYTFiMmMzZDQiLCJ1IjoiZHItbm8iLCJiIjoiMjAzLjAuMTEzLjkiLCJlIjoiMDE5M2E1YzAtN2QyZS03MDAwLTgwMDAtMDAwMDAwMDAwMDAxIn0." +
			"5659b46b79da8faa196a90748a0d5b2b0295a042bd31ee89ad7a7491119960fa",
	} {
		var sealed token.Sealed
		if claims != (token.Claims{}) {
			sealed = seal(t, claims)
		}
		if got := s.Sign(sealed, video, path, time.Unix(1_700_000_000, 0)); got != want {
			t.Errorf("%+v: %s, want %s", claims, got, want)
		}
	}
}

// What a Signer remembers of claims is what they are sealed as, however many callers there are, and what cannot be sealed is
// refused each time.
func TestSignerSealsAsClaimsDo(t *testing.T) {
	s := signer(t, secret, "")
	for n := range 5000 {
		c := token.Claims{KeyID: "a1b2c3d4", User: "caller " + strconv.Itoa(n%2500)}
		if got, err := s.Seal(c); err != nil || got != seal(t, c) {
			t.Fatalf("%+v: %q, %v", c, got, err)
		}
		if got, err := s.Seal(token.Claims{KeyID: "a1b2c3d4"}); err == nil {
			t.Fatalf("claims that name nobody are sealed: %q", got)
		}
	}
}

func TestClaimsComeBack(t *testing.T) {
	s := signer(t, secret, "")
	for _, c := range []token.Claims{
		drNo, {User: "o'brien <o&b@example.org>"}, {User: "Дра́гана \"N\\o\" 世界"}, {User: strings.Repeat("世", 128), KeyID: "a1b2c3d4", Bind: "2001:db8::1"},
		{User: "x", Bind: "203.0.113.9"}, {User: "x", Emergency: "0193a5c0-7d2e-7000-8000-000000000001"},
	} {
		sealed := seal(t, c)
		tok := s.Sign(sealed, video, path, now.Add(time.Minute))
		g, err := s.Verify(tok, video, path)
		if err != nil || g.Claims != c || g.Sealed != sealed || g.ExpiresAt.Unix() != now.Unix()+60 {
			t.Errorf("%+v comes back as %+v, %v", c, g, err)
		}
		if handedOn := s.Sign(g.Sealed, video, "hls/240p.m3u8", g.ExpiresAt); !strings.Contains(handedOn, string(sealed)) {
			t.Errorf("handed on as %s", handedOn)
		}
		ended := s.Sign(sealed, video, path, now)
		if g, err := s.Verify(ended, video, path); !errors.Is(err, token.ErrEnded) || g.Claims != c {
			t.Errorf("ended, it says %+v, %v", g, err)
		}
	}
}

func TestWhatCannotBeClaimed(t *testing.T) {
	for name, c := range map[string]token.Claims{
		"nobody": {KeyID: "a1b2c3d4"}, "no UTF-8": {User: "\xff"}, "too long": {User: strings.Repeat("x", 1000)},
	} {
		if sealed, err := c.Seal(); err == nil {
			t.Errorf("%s: %s", name, sealed)
		}
	}
}

// forge signs any text as claims, with the secret, as a process of ours with another opinion of the form would.
func forge(claims string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(video + ":" + path + ":1700000060:" + claims))
	return "1700000060." + claims + "." + hex.EncodeToString(mac.Sum(nil))
}

// Claims count in one form only, even with a good signature.
func TestClaimsAreReadStrictly(t *testing.T) {
	s := signer(t, secret, "")
	encode := base64.RawURLEncoding.EncodeToString
	good := encode([]byte(`{"k":"a1b2c3d4","u":"dr-no"}`))
	if _, err := s.Verify(forge(good), video, path); err != nil {
		t.Fatalf("the forger does not know the form: %v", err)
	}
	for name, claims := range map[string]string{
		"none": "", "only a beginning": "eyJ", "a space": encode([]byte(`{"k":"a1b2c3d4", "u":"dr-no"}`)), "another order": encode([]byte(`{"u":"dr-no","k":"a1b2c3d4"}`)),
		"a claim that nobody knows": encode([]byte(`{"u":"dr-no","x":"y"}`)), "another case": encode([]byte(`{"U":"dr-no"}`)), "twice": encode([]byte(`{"u":"ann","u":"dr-no"}`)),
		"nobody": encode([]byte(`{"k":"a1b2c3d4"}`)), "an empty claim": encode([]byte(`{"u":"dr-no","b":""}`)), "another type": encode([]byte(`{"u":"dr-no","e":true}`)),
		"an escape": encode([]byte(`{"u":"dr\u002dno"}`)), "more behind": encode([]byte(`{"u":"dr-no"}{}`)), "padding": base64.URLEncoding.EncodeToString([]byte(`{"u":"dr-no2"}`)),
		"standard alphabet": base64.RawStdEncoding.EncodeToString([]byte(`{"u":"ÿþ??>"}`)), "loose bits": good[:len(good)-1] + "R", "a line break": good[:8] + "\n" + good[8:],
		"a dot": good[:8] + "." + good[8:], "no object": encode([]byte(`"u"`)), "digits": "1700000060", "too long": encode([]byte(`{"u":"` + strings.Repeat("x", 1000) + `"}`)),
	} {
		if g, err := s.Verify(forge(claims), video, path); !errors.Is(err, token.ErrNotGenuine) || g != (token.Grant{}) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

// A signature in one form is good in no other: not when its parts are moved over its colons and dots, with a signing oracle
// that takes any id and path.
func TestFormsCannotBePassedOffAsEachOther(t *testing.T) {
	s := signer(t, secret, "")
	sealed := seal(t, drNo)
	ends := now.Add(time.Minute)
	unix := strconv.FormatInt(ends.Unix(), 10)
	anonymous, claimed := s.Sign("", video, path, ends), s.Sign(sealed, video, path, ends)
	bare, withClaims := anonymous[len(anonymous)-64:], claimed[len(claimed)-64:]
	// What the two are of, with the rest of the one in the path of the other.
	byPath := s.Sign("", video, path+":"+unix+":"+string(sealed), ends)
	byTime := s.Sign(sealed, video, path+":"+unix, ends)
	for name, tok := range map[string]string{
		"claims put in": unix + "." + string(sealed) + "." + bare, "claims left out": unix + "." + withClaims,
		"claims that were signed as a path": unix + "." + string(sealed) + "." + byPath[len(byPath)-64:], "a time that was signed as a path": unix + "." + byTime[len(byTime)-64:],
		"a time as claims": unix + "." + unix + "." + byPath[len(byPath)-64:], "claims as a time": string(sealed) + "." + withClaims,
		"others' claims": unix + "." + string(seal(t, token.Claims{KeyID: "a1b2c3d4", User: "ann"})) + "." + withClaims,
		"a later time":   "1800000000." + string(sealed) + "." + withClaims,
	} {
		for _, p := range []string{path, path + ":" + unix, path + ":" + unix + ":" + string(sealed)} {
			if _, err := s.Verify(tok, video, p); err == nil {
				t.Errorf("%s: good for %s", name, p)
			}
		}
	}
	// The two never hash the same text, wherever the colons of ids and paths are.
	if _, err := s.Verify(anonymous, video+":"+path, unix); err == nil {
		t.Error("a path passes for a time")
	}
}

// Of 10,000 tokens by somebody who knows the form and not the secret, none is accepted.
func TestRandomTokens(t *testing.T) {
	s := signer(t, secret, "")
	random := rand.New(rand.NewPCG(1, 2))
	sealed := string(seal(t, drNo))
	for i := range 10_000 {
		signature := make([]byte, 32)
		for j := range signature {
			signature[j] = byte(random.Uint32())
		}
		tok := "1700000060." + hex.EncodeToString(signature)
		if i%2 == 1 {
			tok = "1700000060." + sealed + "." + hex.EncodeToString(signature)
		}
		if _, err := s.Verify(tok, video, path); err == nil {
			t.Fatalf("%s is accepted", tok)
		}
	}
}

// However many callers there are, each token says what its own claims say, the first time and again.
func TestClaimsOfManyCallers(t *testing.T) {
	s, err := token.New(secret, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		want := token.Claims{KeyID: "k", User: fmt.Sprint("caller ", i%3000)}
		tok := s.Sign(seal(t, want), video, path, time.Now().Add(time.Hour))
		for range 2 {
			if g, err := s.Verify(tok, video, path); err != nil || g.Claims != want {
				t.Fatalf("%+v, %v, want %+v", g, err, want)
			}
		}
	}
}
