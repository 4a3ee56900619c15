package vault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pulsevault/pkg/vault"
)

func TestIDs(t *testing.T) {
	last := vault.NewVideoID()
	for range 1000 {
		id := vault.NewVideoID()
		if _, err := vault.ParseVideoID(string(id)); err != nil || id <= last {
			t.Fatalf("%s after %s, %v", id, last, err)
		}
		last = id
	}
	good := string(vault.NewUploadID())
	for _, bad := range []string{"", "..", strings.ToUpper(good), good + " ", " " + good, good + "\n", "{" + good + "}", "urn:uuid:" + good, strings.ReplaceAll(good, "-", ""), good[1:], "../" + good} {
		if id, err := vault.ParseUploadID(bad); vault.KindOf(err) != vault.Invalid || err == nil {
			t.Errorf("ParseUploadID(%q) = %q, %v", bad, id, err)
		}
		if id, err := vault.ParseVideoID(bad); err == nil {
			t.Errorf("ParseVideoID(%q) = %q", bad, id)
		}
	}
}

func TestKindOf(t *testing.T) {
	known := vault.Errorf(vault.Conflict, "code", "%d of %d", 1, 2)
	cause := errors.New("cause")
	if got := vault.KindOf(fmt.Errorf("while: %w", known.Because(cause))); got != vault.Conflict {
		t.Errorf("kind %v", got)
	}
	if vault.KindOf(cause) != vault.Internal {
		t.Error("an unknown error is somebody else's fault")
	}
	if known.Err != nil || !errors.Is(known.Because(cause), cause) || known.Message != "1 of 2" {
		t.Errorf("%+v", known)
	}
}

func TestTask(t *testing.T) {
	good := vault.Task{Type: vault.TranscodeVideo, VideoID: vault.NewVideoID()}
	if err := good.Validate(); err != nil || good.ID() != "transcode:"+string(good.VideoID) {
		t.Errorf("%s, %v", good.ID(), err)
	}
	for _, bad := range []vault.Task{{}, {Type: "x", VideoID: good.VideoID}, {Type: vault.TranscodeVideo, VideoID: "../x"}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
