package upload_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"pulsevault/pkg/vault"
)

// An upload is its creator's. Whoever else asks for it hears what they hear of one that is not there, and its writer is left in
// peace.
func TestUploadsAreTheirCreators(t *testing.T) {
	w := newWorld(t)
	created := w.do("POST", "/uploads", nil, "Upload-Length: 10", "As: ann")
	location := strings.TrimPrefix(created.Header.Get("Location"), "/stage")
	id := vault.UploadID(location[strings.LastIndexByte(location, '/')+1:])
	if u, err := w.dir.Get(t.Context(), id); err != nil || u.Owner != "ann" {
		t.Fatalf("%+v, %v", u, err)
	}
	absent := "/uploads/" + string(vault.NewUploadID())
	piece := []string{"Upload-Offset: 0", "Content-Type: application/offset+octet-stream"}
	for _, x := range []struct {
		method, target string
		headers        []string
		own            int
	}{
		{"HEAD", "/uploads/", nil, 200}, {"PATCH", "/uploads/", piece, 204}, {"GET", "/uploads/status/", nil, 200}, {"DELETE", "/uploads/", nil, 204},
	} {
		ask := func(id, who string) (int, string) {
			var body io.Reader
			if x.method == "PATCH" {
				body = strings.NewReader("12345")
			}
			resp := w.do(x.method, x.target+id, body, append([]string{"As: " + who}, x.headers...)...)
			var answer struct {
				Error struct{ Code, Message string }
			}
			data, _ := io.ReadAll(resp.Body)
			_ = json.Unmarshal(data, &answer)
			return resp.StatusCode, answer.Error.Code + answer.Error.Message
		}
		status, text := ask(string(id), "bob")
		none, noText := ask(absent[len("/uploads/"):], "bob")
		if status != http.StatusNotFound || none != status || text != noText {
			t.Errorf("%s of another's: %d %s; of none: %d %s", x.method, status, text, none, noText)
		}
		if status, text := ask(string(id), "ann"); status != x.own {
			t.Errorf("%s of one's own: %d %s", x.method, status, text)
		}
	}
	if got := strings.Join(w.recorder.actions, " "); got != "upload.terminated" {
		t.Errorf("recorded %s", got)
	}
}
