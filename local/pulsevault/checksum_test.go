package main_test

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pulsevault/pkg/media/mediatest"
)

// patchClaimed sends a piece with the checksum of what it claims to be: the SHA-256 at the beginning of an upload, where it is
// that of the whole as well, and else the SHA-1.
func (c client) patchClaimed(location string, offset int, piece io.Reader, claimed []byte) (answer, error) {
	first, other := sha256.Sum256(claimed), sha1.Sum(claimed)
	algorithm, sum := "sha1", other[:]
	if offset == 0 {
		algorithm, sum = "sha256", first[:]
	}
	return c.try("PATCH", location, piece, "Tus-Resumable", "1.0.0", "Content-Type", "application/offset+octet-stream",
		"Upload-Offset", strconv.Itoa(offset), "Upload-Checksum", algorithm+" "+base64.StdEncoding.EncodeToString(sum))
}

func (c client) wantOffset(location string, want int) {
	c.t.Helper()
	var got int
	err := again(func() (err error) {
		got, err = c.offset(location)
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if got != want {
		c.t.Errorf("Upload-Offset is %d, want %d", got, want)
	}
}

// sendClaimed sends a piece that is what it is claimed to be.
func (c client) sendClaimed(location string, offset int, piece []byte) {
	c.t.Helper()
	err := again(func() error {
		a, err := c.patchClaimed(location, offset, bytes.NewReader(piece), piece)
		if err == nil && a.status != 204 {
			err = fmt.Errorf("PATCH: %d %s", a.status, a.body)
		}
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func TestDamagedPieceDoesNotCount(t *testing.T) {
	content := asVideo(randomBytes(3 << 20))
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		c := client{t, newPlace(t).start().url}
		location, err := c.create(len(content))
		if err != nil {
			t.Fatal(err)
		}
		for offset := 0; offset < len(content); offset += 1 << 20 {
			piece := content[offset : offset+1<<20]
			a, err := c.patchClaimed(location, offset, bytes.NewReader(randomBytes(len(piece))), piece)
			if err != nil || a.status != 460 || !bytes.Contains(a.body, []byte(`"code":"checksum_mismatch"`)) {
				t.Errorf("a damaged piece is answered with %d %s, %v", a.status, a.body, err)
			}
			c.wantOffset(location, offset)
			c.sendClaimed(location, offset, piece)
		}
		wantFinalized(c, location, content)
	})
}

// The host is killed after all of a claimed piece was written: it counts once the record says so, and not before.
func TestKilledAfterAClaimedPiece(t *testing.T) {
	content := asVideo(randomBytes(3 << 20))
	onEachHost(t, func(t *testing.T, newPlace func(*testing.T) place) {
		for arrow, offset := range map[string]int{"upload/written": 0, "upload/synced": 0, "upload/recorded": len(content) / 2} {
			t.Run(strings.ReplaceAll(arrow, "/", " "), func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				first := p.start("PULSEVAULT_FAILPOINT=" + arrow)
				c := client{t, first.url}
				location, err := c.create(len(content))
				if err != nil {
					t.Fatal(err)
				}
				half := content[:len(content)/2]
				_, _ = c.patchClaimed(location, 0, bytes.NewReader(half), half)
				first.awaitDeath(arrow)
				c.url = p.start().url
				c.wantOffset(location, offset)
				c.sendClaimed(location, offset, content[offset:])
				wantFinalized(c, location, content)
			})
		}
	})
}

// The server is killed in the middle of a claimed piece, of which so much is kept that without a claim some would count.
func TestKilledWithinAClaimedPiece(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		root := t.TempDir()
		wantNothingOfAPiece(place{t: t, host: hosts[0], root: root, kept: root}, 68<<20)
	})
	t.Run("bucket", func(t *testing.T) {
		bucket := mediatest.StartS3(t)
		settings := append(bucket.Settings(), redisSettings(t)...)
		wantNothingOfAPiece(place{t: t, host: hosts[0], root: t.TempDir(), kept: bucket.Folder(), settings: settings}, 20<<20)
	})
}

// wantNothingOfAPiece sends so many bytes of a piece, waits until most of them are kept, and kills the server.
func wantNothingOfAPiece(p place, sent int) {
	p.t.Helper()
	content := asVideo(randomBytes(sent + 1<<20))
	first := p.start()
	c := client{p.t, first.url}
	location, err := c.create(len(content))
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := c.resume(location, content[:1000], 1000); err != nil {
		p.t.Fatal(err)
	}
	killed := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := c.patchClaimed(location, 1000, io.MultiReader(bytes.NewReader(content[1000:sent]), waiting(killed)), content[1000:])
		done <- err
	}()
	p.awaitBytes(sent * 8 / 10) // what is on its way, or too short for a part, may be missing
	first.kill()
	close(killed)
	if err := <-done; err == nil {
		p.t.Error("a piece was answered that had not come to its end")
	}
	c.url = p.start().url
	c.wantOffset(location, 1000)
	c.sendClaimed(location, 1000, content[1000:])
	wantFinalized(c, location, content)
}

// awaitBytes waits until so many bytes are kept.
func (p place) awaitBytes(want int) {
	p.t.Helper()
	kept := int64(0)
	enough := func() bool {
		kept = 0
		_ = filepath.WalkDir(p.kept, func(_ string, e fs.DirEntry, err error) error { // files come and go meanwhile
			if err == nil && e.Type().IsRegular() {
				if info, err := e.Info(); err == nil {
					kept += info.Size()
				}
			}
			return nil
		})
		return kept >= int64(want)
	}
	if !comesTrue(enough) {
		p.t.Fatalf("%d bytes are kept, want %d", kept, want)
	}
}

// waiting is a body of which no more comes before a channel is closed.
type waiting <-chan struct{}

func (w waiting) Read([]byte) (int, error) {
	<-w
	return 0, io.ErrUnexpectedEOF
}
