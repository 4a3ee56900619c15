package upload

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"io"
	"strings"

	"pulsevault/pkg/vault"
)

// Claim is the checksum that a client has sent with a piece, by the extension "checksum" of tus 1.0.0. Such a piece
// becomes part of its upload only when it matches: it counts whole, or not at all.
type Claim struct {
	algorithm string
	sum       []byte
}

const (
	claimHeader = "Upload-Checksum"
	sha256Name  = "sha256"
	algorithms  = "sha1," + sha256Name // as the header Tus-Checksum-Algorithm lists them
)

// newHash returns the hash of an algorithm, nil if the algorithm is not known.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha1":
		return sha1.New()
	case sha256Name:
		return sha256.New()
	}
	return nil
}

// ParseClaim reads the values of Upload-Checksum: one, of the name of an algorithm, a space, and the checksum in base64 (RFC
// 4648, section 4). Without a value there is no claim. What cannot be read is an Invalid error.
func ParseClaim(values []string) (*Claim, error) {
	if len(values) == 0 {
		return nil, nil
	}
	algorithm, encoded, _ := strings.Cut(values[0], " ")
	h := newHash(algorithm)
	if h == nil && len(values) == 1 && algorithm != "" {
		return nil, vault.Errorf(vault.Invalid, "unknown_checksum_algorithm", "%s must be of an algorithm out of %s", claimHeader, algorithms)
	}
	sum, err := base64.StdEncoding.DecodeString(encoded)
	exact := base64.StdEncoding.EncodeToString(sum) == encoded // the decoder skips line ends, and bits that nothing stands for
	if len(values) > 1 || h == nil || err != nil || len(sum) != h.Size() || !exact {
		return nil, vault.Errorf(vault.Invalid, "invalid_checksum",
			"%s must be one name of an algorithm, a space, and a checksum of that algorithm in base64", claimHeader)
	}
	return &Claim{algorithm, sum}, nil
}

// proof hashes a piece, to be compared with what was claimed of it. Without a claim it is nil, and does nothing.
type proof struct {
	claim Claim
	hash  hash.Hash // of the piece
	whole bool      // it is the hash of the whole upload, which somebody else writes to
}

// prove begins with a piece at an offset of an upload, of which whole is the SHA-256. The two are the same for a piece at the
// beginning: nothing is hashed twice.
func (c *Claim) prove(offset int64, whole hash.Hash) *proof {
	switch {
	case c == nil:
		return nil
	case offset == 0 && c.algorithm == sha256Name:
		return &proof{*c, whole, true}
	}
	return &proof{*c, newHash(c.algorithm), false}
}

// tee returns a reader of src that hashes what is read.
func (p *proof) tee(src io.Reader) io.Reader {
	if p == nil || p.whole {
		return src
	}
	return io.TeeReader(src, p.hash)
}

// verify compares, once the piece has been read to its end.
func (p *proof) verify() error {
	if p == nil || bytes.Equal(p.hash.Sum(nil), p.claim.sum) {
		return nil
	}
	return vault.Errorf(vault.Unprocessable, "checksum_mismatch",
		"the bytes that have arrived are not those that %s tells of, so nothing of them counts; send them again", claimHeader)
}
