package token

import "sync"

// maxOpened is how many claims are remembered: some hundred kilobytes, one entry for each caller who watches.
const maxOpened = 1024

// opened remembers claims that were decoded behind a good signature: a player asks for hundreds of segments with the same
// ones. When it is full it forgets all, and begins anew.
type opened struct {
	mu     sync.RWMutex
	claims map[Sealed]Claims
}

func (o *opened) open(s Sealed) (Claims, error) {
	o.mu.RLock()
	c, known := o.claims[s]
	o.mu.RUnlock()
	if known {
		return c, nil
	}
	c, err := s.open()
	if err != nil {
		return Claims{}, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.claims == nil || len(o.claims) >= maxOpened {
		o.claims = map[Sealed]Claims{}
	}
	o.claims[s] = c
	return c, nil
}
