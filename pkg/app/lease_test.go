package app_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"pulsevault/pkg/app"
)

// What a process has seen of a video a moment before gets nobody a link, or a byte, once another process has said that it is gone.
func TestNobodySeesAVideoThatIsGone(t *testing.T) {
	var c app.Config
	here := newTenant(t, func(a *app.App) answering { c = a.Config(); return overHTTP(a) })
	other, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	there := tenant{t, overHTTP(other), here.keys}
	for range 5 {
		id := here.store("ann")
		status, _, text := there.as("viewer", "POST", "/media/sign", fmt.Appendf(nil, `{"videoId":%q,"path":"original.mp4"}`, id))
		var link struct{ URL string }
		if err := json.Unmarshal([]byte(text), &link); err != nil || status != http.StatusOK {
			t.Fatal(status, text, err)
		}
		if status, _, text := there.as("", "GET", link.URL, nil); status != http.StatusOK {
			t.Fatal(status, text)
		}
		if status, text := here.request("admin", "DELETE /videos/{id}", id); status != http.StatusNoContent {
			t.Fatal(status, text)
		}
		if status, text := there.request("viewer", "POST /media/sign", id); status != http.StatusNotFound {
			t.Errorf("a link to it: %d %s", status, text)
		}
		if status, _, text := there.as("", "GET", link.URL, nil); status != http.StatusNotFound {
			t.Errorf("a link from before: %d %s", status, text)
		}
	}
}
