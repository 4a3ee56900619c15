// Package token makes and checks the tokens that let a player fetch one path of one video for a while.
//
// A token is written
//
//	{expiresAt}.{signature}
//
// where expiresAt is in Unix seconds, decimal, without sign or leading zeros, and signature is the lower-case hex
// HMAC-SHA256 (RFC 2104) of "{videoId}:{path}:{expiresAt}" under the secret. With the secret "0123456789abcdef0123456789abcdef":
//
//	$ printf %s 0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f:hls/master.m3u8:1700000000 |
//	      openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
//
// prints the signature of the token that lets hls/master.m3u8 of that video be fetched until 14 November 2023, 22:13:20 UTC.
package token

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strconv"
	"time"
)

// MinSecret is the length in bytes below which a secret is too short to be trusted: the output size of SHA-256
// (RFC 2104, section 3).
const MinSecret = 32

// maxLength bounds what Verify looks at; a genuine token has at most 19 + 1 + 64 bytes.
const maxLength = 128

const signatureLength = 2 * sumSize

// Signer signs under one secret and also accepts what was signed under the one before it, so that a secret can be
// changed while links are out. It may be used by many goroutines at once.
type Signer struct {
	keys []*key // the first one signs
	now  func() time.Time
}

// New makes a Signer. previous is the secret before this one, or empty. now is the clock, time.Now if nil.
func New(secret, previous string, now func() time.Time) (*Signer, error) {
	if len(secret) < MinSecret {
		return nil, errors.New("token: the secret must have 32 bytes or more")
	}
	if now == nil {
		now = time.Now
	}
	s := &Signer{keys: []*key{newKey(secret)}, now: now}
	if previous != "" {
		s.keys = append(s.keys, newKey(previous))
	}
	return s, nil
}

// Now is the time by the Signer's clock.
func (s *Signer) Now() time.Time { return s.now() }

// Sign returns the token for a path of a video that ends at expiresAt, whose fraction of a second is dropped.
func (s *Signer) Sign(videoID, path string, expiresAt time.Time) string {
	return string(s.Append(make([]byte, 0, maxLength), videoID, path, expiresAt))
}

// Append adds the token that Sign would return to b. It costs no memory of its own, for playlists with thousands of tokens.
func (s *Signer) Append(b []byte, videoID, path string, expiresAt time.Time) []byte {
	start := len(b)
	b = strconv.AppendInt(b, expiresAt.Unix(), 10)
	sum := s.keys[0].sum(videoID, path, b[start:])
	return hex.AppendEncode(append(b, '.'), sum[:])
}

// Verify reports until when token lets path of videoID be fetched, and whether it does now: it was made by Sign for
// just this path and has not ended. Every refusal takes the same work, whatever is wrong.
func (s *Signer) Verify(token, videoID, path string) (expiresAt time.Time, ok bool) {
	unix, signature, wellFormed := parse(token)
	match := 0
	for _, k := range s.keys {
		sum := k.sum(videoID, path, []byte(unix))
		var want [signatureLength]byte
		hex.Encode(want[:], sum[:])
		match |= subtle.ConstantTimeCompare(want[:], []byte(signature))
	}
	seconds, err := strconv.ParseInt(unix, 10, 64)
	inTime := err == nil && s.now().Unix() < seconds
	return time.Unix(seconds, 0), wellFormed && match == 1 && inTime
}

// parse splits a token. One that is not in the exact form gives parts that can be hashed all the same.
func parse(token string) (unix, signature string, ok bool) {
	const refused = "0"
	if len(token) > maxLength {
		return refused, refused, false
	}
	dot := len(token) - signatureLength - 1
	if dot < 1 || token[dot] != '.' {
		return refused, refused, false
	}
	unix, signature = token[:dot], token[dot+1:]
	if unix[0] == '0' || len(unix) > 18 {
		return refused, refused, false
	}
	for i := range len(unix) {
		if unix[i] < '0' || unix[i] > '9' {
			return refused, refused, false
		}
	}
	return unix, signature, true
}
