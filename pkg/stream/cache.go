package stream

import "sync"

// cache remembers what was made of a version of a file: it counts only while the file is still that. It forgets whatever
// it comes upon when all of it would take more than limit bytes. The zero value remembers nothing.
type cache[T any] struct {
	mu   sync.Mutex
	kept map[string]kept[T]
	size int
}

type kept[T any] struct {
	version string
	value   T
	size    int
}

const (
	maxForms   = 8 << 20 // bytes: some 30 playlists of three hours, or thousands of short ones
	maxRecords = 2 << 20 // bytes: some 10,000 videos
	factsSize  = 176     // with its key and its time, without what its strings hold
)

func (c *cache[T]) get(key, version string) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	if !ok || k.version != version {
		return value, false
	}
	return k.value, true
}

// last returns what was made of the last version that was seen.
func (c *cache[T]) last(key string) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	return k.value, ok
}

// put remembers a value that takes size bytes, among others that take limit bytes together with it.
func (c *cache[T]) put(key, version string, value T, size, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = map[string]kept[T]{}
	}
	c.drop(key)
	for other := range c.kept {
		if c.size+size <= limit {
			break
		}
		c.drop(other)
	}
	if c.size+size <= limit {
		c.kept[key] = kept[T]{version, value, size}
		c.size += size
	}
}

func (c *cache[T]) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
}

func (c *cache[T]) drop(key string) {
	c.size -= c.kept[key].size
	delete(c.kept, key)
}
