// Package token makes and checks the tokens that let a player fetch one path of one video for a while.
//
// A token is written in one of two forms:
//
//	{expiresAt}.{signature}
//	{expiresAt}.{claims}.{signature}
//
// where expiresAt is in Unix seconds, decimal, without sign or leading zeros, and signature is the lower-case hex
// HMAC-SHA256 (RFC 2104) under the secret, in the first form of "{videoId}:{path}:{expiresAt}". With the secret
// "0123456789abcdef0123456789abcdef":
//
//	$ printf %s 0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f:hls/master.m3u8:1700000000 |
//	      openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
//
// prints the signature of the token that lets hls/master.m3u8 of that video be fetched until 14 November 2023, 22:13:20 UTC.
//
// The second form says who has signed the link and what it is bound to. claims is base64url without padding (RFC 4648,
// section 5) of compact JSON, whose members stand in this order and are left out if they are empty: "k" is the id of the
// signer's API key, "u" the signer's name, "b" the one address from which the link is good, "e" the id of the audit entry
// that gave it in an emergency. The signature is of "{videoId}:{path}:{expiresAt}:{claims}":
//
//	$ claims=$(printf %s '{"k":"a1b2c3d4","u":"dr-no"}' | basenc --base64url -w 0 | tr -d =)
//	$ printf %s 0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f:hls/master.m3u8:1700000000:$claims |
//	      openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
//
// No signature is good in both forms, because what it is of ends differently: behind its last colon are only digits in the
// first form, and in the second what begins with the e of a brace in base64.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// MinSecret is the length in bytes below which a secret is too short to be trusted: the output size of SHA-256
// (RFC 2104, section 3).
const MinSecret = 32

const signatureLength = 2 * sumSize

const (
	maxDigits = 18 // of expiresAt
	maxLength = maxDigits + 1 + maxClaims + 1 + signatureLength
	usual     = 256 // bytes, of which most tokens have fewer
)

// Signer signs under one secret and also accepts what was signed under others, so that a secret can be changed while links
// are out. It may be used by many goroutines at once.
type Signer struct {
	keys   atomic.Pointer[[]*key] // the first one signs
	now    func() time.Time
	file   *File // where the secrets are from; nil if they never change
	sealed memory[Claims, Sealed]
	opened memory[Sealed, Claims] // behind a good signature
}

// New makes a Signer. previous is the secret before this one, or empty. now is the clock, time.Now if nil.
func New(secret, previous string, now func() time.Time) (*Signer, error) {
	if previous == "" {
		return newSigner(now, secret)
	}
	return newSigner(now, secret, previous)
}

func newSigner(now func() time.Time, secrets ...string) (*Signer, error) {
	if len(secrets[0]) < MinSecret {
		return nil, errors.New("token: the secret must have 32 bytes or more")
	}
	if now == nil {
		now = time.Now
	}
	s := &Signer{now: now}
	s.take(secrets)
	return s, nil
}

// take makes these the secrets from now on.
func (s *Signer) take(secrets []string) {
	keys := make([]*key, len(secrets))
	for i, secret := range secrets {
		keys[i] = newKey(secret)
	}
	s.keys.Store(&keys)
}

// look takes over what has changed.
func (s *Signer) look() {
	if s.file != nil {
		s.file.look()
	}
}

// Derive returns a secret for another use than links, so that no token of the one use is any good in the other: the
// HMAC-SHA256 of the use's name under the secret, in hex. Of no secret it is none.
func Derive(secret, use string) string {
	if secret == "" {
		return ""
	}
	sum := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(sum, use) // a hash takes everything
	return hex.EncodeToString(sum.Sum(nil))
}

// Now is the time by the Signer's clock.
func (s *Signer) Now() time.Time { return s.now() }

// Seal is Claims.Seal, done once for all links that are signed with the same claims.
func (s *Signer) Seal(c Claims) (Sealed, error) {
	if c.Emergency != "" {
		return c.Seal() // there will be none like these
	}
	return s.sealed.of(c, Claims.Seal)
}

// Sign returns the token for a path of a video that ends at expiresAt, whose fraction of a second is dropped. claims may be
// empty.
func (s *Signer) Sign(claims Sealed, videoID, path string, expiresAt time.Time) string {
	s.look()
	return string(s.Append(make([]byte, 0, usual), claims, videoID, path, expiresAt))
}

// Append adds the token that Sign would return to b, under the secret that was known to the last Sign or Verify. It costs no
// memory of its own, for playlists with thousands of tokens.
func (s *Signer) Append(b []byte, claims Sealed, videoID, path string, expiresAt time.Time) []byte {
	start := len(b)
	b = strconv.AppendInt(b, expiresAt.Unix(), 10)
	sum := (*s.keys.Load())[0].sum(videoID, path, b[start:], claims)
	if claims != "" {
		b = append(append(b, '.'), claims...)
	}
	return hex.AppendEncode(append(b, '.'), sum[:])
}

// Grant is what a token says.
type Grant struct {
	ExpiresAt time.Time
	Claims    Claims // zero in the form without
	Sealed    Sealed // the same as they stand in the token, to be handed on to others; empty in the form without
}

// Why Verify refuses. What is told to whoever shows a token should be the same for both.
var (
	ErrNotGenuine = errors.New("token: not one of ours, or not for this")
	ErrEnded      = errors.New("token: it has ended")
)

// Verify reads a token that was made by Sign for just this path of videoID. If its time is over it is returned all the same,
// with ErrEnded; of any other, nothing is believed. Whatever is wrong with a token that is not genuine, it takes the same work:
// claims are decoded only behind a good signature.
func (s *Signer) Verify(token, videoID, path string) (Grant, error) {
	s.look()
	unix, claims, signature, wellFormed := parse(token)
	match := 0
	for _, k := range *s.keys.Load() {
		sum := k.sum(videoID, path, []byte(unix), claims)
		var want [signatureLength]byte
		hex.Encode(want[:], sum[:])
		match |= subtle.ConstantTimeCompare(want[:], []byte(signature))
	}
	seconds, err := strconv.ParseInt(unix, 10, 64)
	if match != 1 || !wellFormed || err != nil {
		return Grant{}, ErrNotGenuine
	}
	g := Grant{ExpiresAt: time.Unix(seconds, 0), Sealed: claims}
	if claims != "" {
		if g.Claims, err = s.opened.of(claims, Sealed.open); err != nil {
			return Grant{}, ErrNotGenuine
		}
	}
	if s.now().Unix() >= seconds {
		return g, ErrEnded
	}
	return g, nil
}

// parse splits a token. One that is not in the exact form gives parts that can be hashed all the same.
func parse(token string) (unix string, claims Sealed, signature string, ok bool) {
	const refused = "0"
	dot := len(token) - signatureLength - 1
	if dot < 1 || token[dot] != '.' || len(token) > maxLength {
		return refused, "", refused, false
	}
	unix, sealed, has := strings.Cut(token[:dot], ".")
	if unix == "" || unix[0] == '0' || len(unix) > maxDigits || has && !sealedForm(sealed) {
		return refused, "", refused, false
	}
	for i := range len(unix) {
		if unix[i] < '0' || unix[i] > '9' {
			return refused, "", refused, false
		}
	}
	return unix, Sealed(sealed), token[dot+1:], true
}
