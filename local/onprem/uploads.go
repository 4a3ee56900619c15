package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"pulsevault/local/bench/rig"
)

const (
	pieceSize  = 96 << 10
	paddedWith = 256 << 10 // bytes that make each video another
	retryAfter = 250 * time.Millisecond
)

// ledger is what was acknowledged, and what of it was gone later.
type ledger struct {
	mu     sync.Mutex
	videos map[string][sha256.Size]byte // of finalized uploads, by the video's id
	pieces int                          // acknowledged
	tried  int                          // requests that did not succeed and were tried again
	why    error                        // of the last of them
	lost   []string
}

func (l *ledger) add(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// again counts a request that is tried again.
func (l *ledger) again(why error) { l.add(func() { l.tried, l.why = l.tried+1, why }) }

// triedAgain is how many requests were tried again up to now, and why the last one was.
func (l *ledger) triedAgain() (n int, why error) {
	l.add(func() { n, why = l.tried, l.why })
	return n, why
}

func (l *ledger) print() {
	fmt.Printf("acknowledged: %d pieces, %d videos; %d requests were tried again; lost: %d\n", l.pieces, len(l.videos), l.tried, len(l.lost))
}

// different is a clip with a box of random bytes at its end, which players skip.
func different(clip []byte) []byte {
	box := make([]byte, 8+paddedWith)
	binary.BigEndian.PutUint32(box, uint32(len(box)))
	copy(box[4:], "free")
	_, _ = rand.Read(box[8:])
	return slices.Concat(clip, box)
}

// uploadUntil uploads one video after another until stop is closed, and then finishes the one under way.
func (s *stack) uploadUntil(ctx context.Context, stop <-chan struct{}, clip []byte, l *ledger) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		body := different(clip)
		video, err := s.upload(ctx, body, l)
		if err != nil {
			return err
		}
		if video != "" {
			l.add(func() { l.videos[video] = sha256.Sum256(body) })
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// upload does what a tus client does: it sends piece after piece, and after whatever goes wrong asks for the offset and goes on
// from there. What was acknowledged and is not there then is lost, and the upload given up.
func (s *stack) upload(ctx context.Context, body []byte, l *ledger) (video string, err error) {
	var upload *url.URL
	if err := l.untilDone(ctx, func() (err error) { upload, err = s.Create(ctx, int64(len(body))); return err }); err != nil {
		return "", err
	}
	var acknowledged int64
	for acknowledged < int64(len(body)) {
		n, err := s.Send(ctx, upload, acknowledged, bytes.NewReader(body[acknowledged:min(acknowledged+pieceSize, int64(len(body)))]))
		if err != nil {
			l.again(err)
			err = l.untilDone(ctx, func() (err error) { n, err = s.Offset(ctx, upload); return err })
		}
		if err != nil {
			return "", l.mayBeLost(err, upload)
		}
		if n < acknowledged {
			l.add(func() {
				l.lost = append(l.lost, fmt.Sprintf("%s: %d bytes acknowledged, %d there", upload.Path, acknowledged, n))
			})
		}
		acknowledged = n
		l.add(func() { l.pieces++ })
	}
	err = l.untilDone(ctx, func() (err error) { video, _, err = s.Finalize(ctx, upload); return err })
	return video, l.mayBeLost(err, upload)
}

// untilDone tries until something succeeds, or is refused for good.
func (l *ledger) untilDone(ctx context.Context, try func() error) error {
	for {
		err := try()
		switch status := rig.StatusOf(err); {
		case err == nil, status == http.StatusNotFound, status == http.StatusGone, status == http.StatusUnauthorized:
			return err
		case status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusLocked && status != http.StatusConflict:
			return err
		}
		l.again(err)
		if late := pause(ctx, retryAfter); late != nil {
			return errors.Join(err, late)
		}
	}
}

// mayBeLost counts an upload that is not there any more as lost, which is then no error.
func (l *ledger) mayBeLost(err error, upload *url.URL) error {
	if status := rig.StatusOf(err); status != http.StatusNotFound && status != http.StatusGone {
		return err
	}
	l.add(func() { l.lost = append(l.lost, upload.Path+": "+err.Error()) })
	return nil
}
