package media_test

import (
	"errors"
	"io/fs"
	"net/http"
	"testing"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/vault"
)

// wire breaks the next so many puts: before they reach S3, or after, so that only the answer is lost.
type wire struct {
	before, after int
	instead       func() // happens after a put whose answer is lost
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPut {
		return http.DefaultClient.Do(r)
	}
	if w.before > 0 {
		w.before--
		return nil, errors.New("connection reset")
	}
	resp, err := http.DefaultClient.Do(r)
	if err == nil && w.after > 0 {
		w.after--
		_ = resp.Body.Close()
		if w.instead != nil {
			w.instead()
		}
		return nil, errors.New("connection reset")
	}
	return resp, err
}

// A write whose answer is lost is not taken for somebody else's, and one that did not arrive is sent again.
func TestLostAnswers(t *testing.T) {
	s3, broken := mediatest.StartS3(t), &wire{}
	b, other := s3.OpenThrough(t, broken), s3.Open(t)
	key := media.MetaKey(vault.NewVideoID())
	version, err := b.Write(t.Context(), key, []byte("0"), media.None)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]wire{"not sent": {before: 2}, "not answered": {after: 1}, "both": {before: 1, after: 1}} {
		*broken = tc
		if version, err = b.Write(t.Context(), key, []byte(name), version); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, now, err := other.Read(t.Context(), key); err != nil || string(got) != name || now != version {
			t.Errorf("%s: %q of version %s, %v; want version %s", name, got, now, err, version)
		}
	}
	*broken = wire{after: 1}
	if _, err := b.Write(t.Context(), media.MetaKey(vault.NewVideoID()), []byte("new"), media.None); err != nil {
		t.Errorf("a first write: %v", err)
	}
	*broken = wire{after: 1, instead: func() { _, _ = other.Write(t.Context(), key, []byte("theirs"), media.Any) }}
	if _, err := b.Write(t.Context(), key, []byte("ours"), version); vault.KindOf(err) != vault.Conflict {
		t.Errorf("somebody else has come between: %v", err)
	}
	*broken = wire{before: 10}
	if _, err := b.Write(t.Context(), key, []byte("x"), media.Any); vault.KindOf(err) != vault.Unavailable {
		t.Errorf("a server that is away: %v", err)
	}
	*broken = wire{before: 10}
	if _, err := b.Write(t.Context(), media.MetaKey(vault.NewVideoID()), []byte("x"), media.None); vault.KindOf(err) != vault.Unavailable || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a server that is away: %v", err)
	}
}
