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
	video := vault.NewVideoID()
	for id, good := range map[string]vault.Task{
		"transcode:" + string(video):       {Type: vault.TranscodeVideo, VideoID: video},
		"piece:" + string(video) + ":2:17": {Type: vault.TranscodePiece, VideoID: video, Attempt: 2, Piece: 17},
		"join:" + string(video) + ":2":     {Type: vault.JoinPieces, VideoID: video, Attempt: 2},
	} {
		if err := good.Validate(); err != nil || good.ID() != id {
			t.Errorf("%s, %v; want %s", good.ID(), err, id)
		}
	}
	for _, bad := range []vault.Task{
		{}, {Type: "x", VideoID: video}, {Type: vault.TranscodeVideo, VideoID: "../x"},
		{Type: vault.TranscodeVideo, VideoID: video, Piece: 1}, {Type: vault.TranscodePiece, VideoID: video, Attempt: 1},
		{Type: vault.TranscodePiece, VideoID: video, Piece: 1}, {Type: vault.TranscodePiece, VideoID: video, Attempt: 1, Piece: -1},
		{Type: vault.JoinPieces, VideoID: video}, {Type: vault.JoinPieces, VideoID: video, Attempt: 1, Piece: 1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
