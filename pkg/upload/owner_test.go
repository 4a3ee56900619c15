package upload_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
)

// Whoever has not created an upload, and may not touch everybody's, is answered as if it were not there, to the letter.
func TestOthersUploadsAreNotThere(t *testing.T) {
	h, dir := newHandler(t, &recorder{}, time.Minute)
	u, err := dir.Create(t.Context(), "ann", 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/uploads/{id}", h)
	mux.HandleFunc("GET /uploads/status/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := h.Status(w, r); err != nil {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, err.Error())
		}
	})
	ask := func(c auth.Caller, method, path string, id vault.UploadID) (int, string) {
		r := httptest.NewRequest(method, path+string(id), strings.NewReader("0123456789"))
		r.Header.Set("Tus-Resumable", "1.0.0")
		if method == http.MethodPatch {
			r.Header.Set("Upload-Offset", "0")
			r.Header.Set("Content-Type", "application/offset+octet-stream")
		}
		rec := httptest.NewRecorder()
		letIn(c, mux).ServeHTTP(rec, r)
		var all bytes.Buffer
		_ = rec.Result().Header.Write(&all)
		return rec.Code, strings.ReplaceAll(all.String()+rec.Body.String(), string(id), "ID")
	}
	uploader, other := auth.Caller{Name: "ann", Roles: []auth.Role{auth.Uploader}}, auth.Caller{Name: "bob", Roles: []auth.Role{auth.Uploader}}
	for _, c := range []auth.Caller{other, {Name: "ann"}, {Name: "ann", Roles: []auth.Role{auth.Viewer}}, {}} {
		for _, method := range []string{http.MethodHead, http.MethodPatch, http.MethodDelete, http.MethodGet} {
			path := "/uploads/"
			if method == http.MethodGet {
				path = "/uploads/status/"
			}
			code, got := ask(c, method, path, u.UploadID)
			_, want := ask(c, method, path, vault.NewUploadID())
			if code != http.StatusNotFound || got != want {
				t.Errorf("%+v: %s: %d\n%s\nand for one that is not there\n%s", c, method, code, got, want)
			}
		}
	}
	if kept, err := dir.Get(t.Context(), u.UploadID); err != nil || kept.Offset != 0 {
		t.Fatalf("the upload is %+v, %v", kept, err)
	}
	for _, c := range []auth.Caller{uploader, {Name: "portal", Roles: []auth.Role{auth.Service}}, auth.Anybody} {
		if code, got := ask(c, http.MethodHead, "/uploads/", u.UploadID); code != http.StatusOK {
			t.Errorf("%+v: %d\n%s", c, code, got)
		}
	}
}
