package main_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pulsevault/local/emulator"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

// Uploads go through functions in pieces of 4 MiB; a larger piece is told so, and costs nothing.
func TestFunctionsTakePiecesOfTheirSize(t *testing.T) {
	onEachFunctionHost(t, wantPiecesOfTheirSize)
}

// onEachFunctionHost runs a scenario with functions, on a directory and on a bucket.
func onEachFunctionHost(t *testing.T, scenario func(place)) {
	t.Helper()
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		if p := newPlace(t); p.host.command == "emulate" {
			scenario(p)
		}
	})
}

func wantPiecesOfTheirSize(p place) {
	t := p.t
	t.Helper()
	c := client{t, p.start().url}
	content := asVideo(randomBytes(9<<20 + 1))
	location, err := c.create(len(content))
	if err != nil {
		t.Fatal(err)
	}
	a := c.do(413, "PATCH", location, bytes.NewReader(content), "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset", "0")
	var refusal struct{ Message string }
	if err := json.Unmarshal(a.body, &refusal); err != nil || !strings.Contains(refusal.Message, "4194304 bytes (4 MiB)") {
		t.Errorf("the refusal does not say which size to use: %s", a.body)
	}
	if a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the gateway answers without the headers that every answer has: %v", a.header)
	}
	if _, err := c.resume(location, content, emulator.ChunkSize); err != nil {
		t.Fatal(err)
	}
	wantFinalized(c, location, content)
}

// asVideo lets bytes begin as an MP4 does.
func asVideo(content []byte) []byte {
	copy(content, "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2\x00\x00\x10\x00free")
	return content
}

// wantFinalized makes a video of an upload and compares its original with what was sent.
func wantFinalized(c client, location string, content []byte) {
	c.t.Helper()
	id, err := c.finalizeInTime(location)
	if err != nil {
		c.t.Fatal(err)
	}
	c.wantOriginal(id, content)
}

// Two processes of the upload function get the same piece at once: one writes it, the others are told that it is there.
func TestFunctionsTakeTurnsAtAnUpload(t *testing.T) {
	onEachFunctionHost(t, wantTurns)
}

func wantTurns(p place) {
	t := p.t
	t.Helper()
	c := client{t, p.start().url}
	content := asVideo(randomBytes(8 << 20))
	location, err := c.create(len(content))
	if err != nil {
		t.Fatal(err)
	}
	for offset := 0; offset < len(content); {
		statuses := make([]int, 4)
		var calls sync.WaitGroup
		for i := range statuses {
			calls.Go(func() {
				// Not all pieces are whole: of one that is asked to let go in its middle, what has come counts.
				piece := bytes.NewReader(content[offset:min(offset+2<<20, len(content))])
				a, err := c.try("PATCH", location, piece, "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset))
				if err != nil {
					t.Error(err)
				}
				statuses[i] = a.status
			})
		}
		calls.Wait()
		// One that was asked to let go before it began has taken nothing, and says so.
		if n := count(statuses, 204); n > 1 || slices.ContainsFunc(statuses, func(s int) bool { return !slices.Contains([]int{204, 400, 409, 423}, s) }) {
			t.Fatalf("answers at %d: %v", offset, statuses)
		}
		a := c.do(200, "HEAD", location, nil, "Tus-Resumable", "1.0.0")
		if offset, err = strconv.Atoi(a.header.Get("Upload-Offset")); err != nil {
			t.Fatal(err)
		}
	}
	wantFinalized(c, location, content)
}

func count(all []int, n int) (times int) {
	for _, x := range all {
		if x == n {
			times++
		}
	}
	return times
}
