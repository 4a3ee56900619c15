package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pulsevault/pkg/metadata"
	"pulsevault/pkg/vault"
)

// tale is a client that goes on after each failure, up to the original that it gets to see.
type tale struct {
	story
	root string
}

// goOn does what is left to do, up to the first failure. What it is given is right, whatever has failed.
func (s *tale) goOn() (err error) {
	if s.location == "" {
		if s.location, err = s.create(len(s.content)); err != nil {
			s.location = ""
			return err
		}
	}
	if s.videoID == "" {
		if err = s.send(len(s.content)/2 + 1); err != nil {
			return err
		}
		if s.videoID, err = s.finalize(s.location); err != nil {
			return err
		}
	}
	return s.watch()
}

// watch fetches the record and the original. What comes whole is right.
func (s *tale) watch() error {
	for _, name := range []string{"metadata", "original.mp4"} {
		a, err := s.try("POST", "/media/sign", strings.NewReader(fmt.Sprintf(`{"videoId":%q,"path":%q}`, s.videoID, name)))
		var link struct{ URL string }
		if err == nil && (a.status != 200 || json.Unmarshal(a.body, &link) != nil) {
			err = fmt.Errorf("sign %s: %d %s", name, a.status, a.body)
		}
		if err != nil {
			return err
		}
		if a, err = s.try("GET", link.URL, nil); err == nil && a.status != 200 {
			err = fmt.Errorf("get %s: %d %s", name, a.status, a.body)
		}
		if err != nil {
			return err
		}
		if name == "metadata" && !bytes.Contains(a.body, []byte(s.checksum())) || name != "metadata" && !bytes.Equal(a.body, s.content) {
			s.t.Errorf("%s is served wrong", name)
		}
	}
	return nil
}

func (s *tale) checksum() string {
	sum := sha256.Sum256(s.content)
	return hex.EncodeToString(sum[:])
}

func (s *tale) record() (u vault.Upload) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.root, "uploads", path.Base(s.location)+".json"))
	if err == nil {
		err = json.Unmarshal(data, &u)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

// wantAcknowledged asks the server for the offset, and compares with what it acknowledged and with the bytes on disk.
func (s *tale) wantAcknowledged() {
	s.t.Helper()
	if s.location == "" {
		return
	}
	a, err := s.try("HEAD", s.location, nil, "Tus-Resumable", "1.0.0")
	if offset := a.header.Get("Upload-Offset"); err != nil || a.status != 200 || offset != fmt.Sprint(s.record().Offset) {
		s.t.Errorf("HEAD: %v, %d, offset %s, and the record says %d", err, a.status, offset, s.record().Offset)
	}
	u := s.record()
	if int(u.Offset) < s.acknowledged {
		s.t.Errorf("the record knows of %d bytes, and %d were acknowledged", u.Offset, s.acknowledged)
	}
	data, err := os.ReadFile(filepath.Join(s.root, "uploads", string(u.UploadID)))
	if os.IsNotExist(err) {
		data, err = os.ReadFile(filepath.Join(s.root, "videos", string(u.VideoID), "original.mp4"))
	}
	if err != nil || int64(len(data)) < u.Offset || !bytes.HasPrefix(s.content, data[:u.Offset]) {
		s.t.Errorf("the %d bytes that the record knows of are not there: %d, %v", u.Offset, len(data), err)
	}
}

// wantRight asks the checkers at the end.
func (s *tale) wantRight() {
	s.t.Helper()
	if s.t.Failed() {
		return
	}
	u := s.record()
	if !u.Finalized || u.Offset != int64(len(s.content)) || string(u.VideoID) != s.videoID {
		s.t.Errorf("the record says %d bytes, finalized %v, video %s", u.Offset, u.Finalized, u.VideoID)
	}
	folder := filepath.Join(s.root, "videos", s.videoID)
	if data, err := os.ReadFile(filepath.Join(folder, "original.mp4")); err != nil || !bytes.Equal(data, s.content) {
		s.t.Errorf("the original is wrong: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(folder, "meta.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	if v, err := metadata.Unmarshal(data); err != nil || v.OriginalChecksum != s.checksum() || v.OriginalSize != int64(len(s.content)) {
		s.t.Errorf("meta.json: %v: %s", err, data)
	}
	if _, err := os.Stat(filepath.Join(s.root, "pending", s.videoID)); err != nil {
		s.t.Errorf("nobody hears that the video wants work: %v", err)
	}
	for _, action := range []string{"upload.completed", "video.finalized"} {
		if ids := eventsOf(s.t, s.root, action, string(u.UploadID)); len(ids) != 1 {
			s.t.Errorf("the audit log tells of %d times %s", len(ids), action)
		}
	}
}

// eventsOf lists the ids of an upload's events of a kind.
func eventsOf(t *testing.T, root, action, upload string) (ids []string) {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(root, "audit", "upload-*.log"))
	for _, name := range paths {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			var e struct {
				EventID string
				Event   struct{ Action, UploadID string }
			}
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatal(err)
			}
			if e.Event.Action == action && e.Event.UploadID == upload && !slices.Contains(ids, e.EventID) {
				ids = append(ids, e.EventID)
			}
		}
	}
	return ids
}
