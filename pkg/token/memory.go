package token

import "sync"

// maxRemembered is how many claims are remembered each way: some hundred kilobytes, one entry for each caller who watches.
const maxRemembered = 1024

// memory remembers what was made of something: a player asks for hundreds of segments with the same claims, and a caller signs
// link after link. When it is full it forgets all, and begins anew.
type memory[K comparable, V any] struct {
	mu    sync.RWMutex
	known map[K]V
}

// of returns what is made of k, and makes it if it was not made before. What fails is tried again each time.
func (m *memory[K, V]) of(k K, produce func(K) (V, error)) (V, error) {
	m.mu.RLock()
	v, known := m.known[k]
	m.mu.RUnlock()
	if known {
		return v, nil
	}
	v, err := produce(k)
	if err != nil {
		return v, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxRemembered {
		m.known = map[K]V{}
	}
	m.known[k] = v
	return v, nil
}
