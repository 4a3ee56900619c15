package token

import (
	"crypto/sha256"
	"encoding"
	"hash"
	"sync"
)

const sumSize = sha256.Size

// key computes HMACs (RFC 2104) under one secret. It keeps the states of SHA-256 behind the inner and the outer pad, which
// are half of the four blocks that a token takes to hash. crypto/hmac keeps them too, but allocates and looks at its state
// anew for each sum: it takes about three times as long.
type key struct {
	inner, outer []byte
	macs         sync.Pool
}

// mac is what one sum is computed in.
type mac struct {
	hash  hash.Hash
	state encoding.BinaryUnmarshaler // of hash
	buf   []byte
}

func newKey(secret string) *key {
	k := &key{}
	k.macs.New = func() any {
		h := sha256.New()
		return &mac{h, h.(encoding.BinaryUnmarshaler), make([]byte, 0, 128)}
	}
	block := make([]byte, sha256.BlockSize)
	if len(secret) > len(block) {
		sum := sha256.Sum256([]byte(secret))
		copy(block, sum[:])
	} else {
		copy(block, secret)
	}
	k.inner, k.outer = behind(block, 0x36), behind(block, 0x5c)
	return k
}

// behind is the state of SHA-256 after a block with pad in each byte.
func behind(block []byte, pad byte) []byte {
	padded := make([]byte, len(block))
	for i, b := range block {
		padded[i] = b ^ pad
	}
	h := sha256.New()
	_, _ = h.Write(padded)                                     // a hash takes everything
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary() // cannot fail, of SHA-256
	if err != nil {
		panic(err)
	}
	return state
}

// sum is the HMAC of what a token says.
func (k *key) sum(videoID, path string, unix []byte, claims Sealed) (sum [sumSize]byte) {
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	b := m.buf[:0]
	b = append(b, videoID...)
	b = append(b, ':')
	b = append(b, path...)
	b = append(b, ':')
	b = append(b, unix...)
	if claims != "" {
		b = append(b, ':')
		b = append(b, claims...)
	}
	m.buf = m.under(k.outer, m.under(k.inner, b))
	copy(sum[:], m.buf)
	return sum
}

// under hashes b behind a state, and writes the sum into b's memory.
func (m *mac) under(state, b []byte) []byte {
	if err := m.state.UnmarshalBinary(state); err != nil { // cannot fail: it is of a hash of the same kind
		panic(err)
	}
	_, _ = m.hash.Write(b)
	return m.hash.Sum(b[:0])
}
