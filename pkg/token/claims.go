package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Claims say who has signed a link, and what it is bound to.
type Claims struct {
	KeyID     string `json:"k,omitempty"` // of the signer's API key, empty of a signer who has none
	User      string `json:"u"`           // the signer's name, never empty
	Bind      string `json:"b,omitempty"` // the address from which alone the link is good, empty for any
	Emergency string `json:"e,omitempty"` // the eventId of the audit entry, of a link given in an emergency
}

// Sealed is claims as they stand in a token, encoded once for all tokens of a playlist. It is empty where there are none.
type Sealed string

// maxClaims is how long Sealed may be, in bytes: a name of 128 characters of any script fits.
const maxClaims = 1024

// opening is how Sealed begins, whatever it says: a brace and a quote.
const opening = "eyJ"

// Seal encodes claims. It is an error if they name nobody, or are too long for a link.
func (c Claims) Seal() (Sealed, error) {
	if c.User == "" {
		return "", errors.New("token: claims must name who signs")
	}
	for _, s := range []string{c.KeyID, c.User, c.Bind, c.Emergency} {
		if !utf8.ValidString(s) {
			return "", errors.New("token: claims must be UTF-8")
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	sealed := Sealed(base64.RawURLEncoding.EncodeToString(bytes.TrimSuffix(b.Bytes(), []byte("\n"))))
	if len(sealed) > maxClaims {
		return "", fmt.Errorf("token: claims take %d bytes, a link has room for %d", len(sealed), maxClaims)
	}
	return sealed, nil
}

// open decodes what Seal has encoded, and nothing that is written in any other way.
func (s Sealed) open() (Claims, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(string(s))
	if err != nil {
		return Claims{}, err
	}
	var c Claims
	if err := json.Unmarshal(data, &c); err != nil {
		return Claims{}, err
	}
	if again, err := c.Seal(); err != nil || again != s {
		return Claims{}, errors.New("token: claims in another form than ours")
	}
	return c, nil
}

// sealedForm reports whether s could be Sealed, by its first characters and its alphabet.
func sealedForm(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return strings.HasPrefix(s, opening) && len(s) <= maxClaims
}
