package app_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/app"
)

// What a process has seen of a video a moment before gets nobody a link to it once they have been told that it is gone: neither
// by the DELETE that has removed it, nor by another one meanwhile.
func TestNobodyGetsALinkToAVideoThatIsGone(t *testing.T) {
	var c app.Config
	here := newTenant(t, func(a *app.App) answering { c = a.Config(); return overHTTP(a) })
	there := tenant{t, overHTTP(openApp(t, c)), here.keys}
	for range 3 {
		id := here.store("ann")
		if status, text := there.request("viewer", "POST /media/sign", id); status != http.StatusOK {
			t.Fatal(status, text)
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if status, text := here.request("admin", "DELETE /videos/{id}", id); status != http.StatusNoContent && status != http.StatusNotFound {
					t.Error(status, text)
				}
				if status, text := there.request("viewer", "POST /media/sign", id); status != http.StatusNotFound {
					t.Errorf("a link to it: %d %s", status, text)
				}
			})
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
	}
}
