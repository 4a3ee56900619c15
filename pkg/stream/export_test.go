package stream

import (
	"fmt"
	"testing"

	"pulsevault/pkg/vault"
)

// ServeContent is what answers ranges and conditions.
var ServeContent = serveContent

// Within is whether a lease holds.
var Within = within

// RememberedAs is the key under which a video's record is remembered.
func RememberedAs(t *testing.T, s *Streamer, id vault.VideoID) (key string) {
	if _, err := s.facts(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for key = range s.records.kept {
		break
	}
	return key
}

// FillCache puts n values of growing size into a cache and looks whether it stays within its bound and remembers the last.
func FillCache(t *testing.T, n int) {
	const limit = 10_000
	var c cache[int]
	for i := range n {
		key := fmt.Sprint(i % 300)
		c.put(key, fmt.Sprint(i), i, i, limit)
		sum := 0
		for _, k := range c.kept {
			sum += k.size
		}
		if sum != c.size || sum > limit {
			t.Fatalf("after %d: %d bytes, counted as %d", i, sum, c.size)
		}
		if v, ok := c.get(key, fmt.Sprint(i)); !ok || v != i {
			t.Fatalf("%d is not remembered", i)
		}
		if _, ok := c.get(key, "another"); ok {
			t.Fatalf("%d is taken for another version", i)
		}
	}
	if c.put("large", "", 0, limit+1, limit); c.size > limit {
		t.Errorf("%d bytes are remembered", c.size)
	}
}
