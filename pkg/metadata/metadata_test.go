package metadata_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/vault"
)

func video(id vault.VideoID) vault.Video {
	return vault.Video{
		VideoID: id, Filename: "gait <1>.mp4", ContentType: "video/mp4", OriginalSize: 12, OriginalChecksum: strings.Repeat("a", 64),
		UploadedAt: time.Unix(1_700_000_000, 0).UTC(), UpdatedAt: time.Unix(1_700_000_000, 0).UTC(), Status: vault.Uploaded, Version: "1.0",
	}
}

// The file is checked as a stranger would, with a regular expression and SHA-256.
func TestFormatIsTheDocumentedOne(t *testing.T) {
	v := video(vault.NewVideoID())
	v.Metadata = json.RawMessage(`{"z":1,"status":"transcoded","checksum":"x","a":{"status":"y","\"status\":":2},"n":12345678901234567890}`)
	data, err := metadata.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	member := regexp.MustCompile(`"checksum":"([0-9a-f]{64})",`)
	found := member.FindSubmatch(data)
	sum := sha256.Sum256(member.ReplaceAll(data, nil))
	if found == nil || string(found[1]) != hex.EncodeToString(sum[:]) {
		t.Errorf("the checksum is not that of the rest: %s", data)
	}
	if n := bytes.Count(data, []byte(`"status":"`)); n != 1 {
		t.Errorf(`"status":" stands %d times in %s`, n, data)
	}
	if n := bytes.Count(data, []byte(`"checksum":"`)); n != 1 {
		t.Errorf(`"checksum":" stands %d times in %s`, n, data)
	}
	if bytes.ContainsAny(data, "\n") || !bytes.Contains(data, []byte(`"gait <1>.mp4"`)) {
		t.Errorf("not compact, or escaped for HTML: %s", data)
	}
	var members map[string]any
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	own := members["metadata"].(map[string]any)
	if own["status"] != "transcoded" || own["checksum"] != "x" || members["status"] != "uploaded" {
		t.Errorf("the client's object is not what it was: %v", own)
	}
	back, err := metadata.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"a":{"\"status\":":2,"status":"y"},"checksum":"x","n":12345678901234567890,"status":"transcoded","z":1}`; string(back.Metadata) != want {
		t.Errorf("metadata comes back as %s, want %s", back.Metadata, want)
	}
}

func TestUnmarshalRefusesWhatItsChecksumDoesNotVouchFor(t *testing.T) {
	data, err := metadata.Marshal(video(vault.NewVideoID()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		changed := bytes.Clone(data)
		changed[i] ^= 1
		if _, err := metadata.Unmarshal(changed); err == nil {
			t.Fatalf("byte %d changed, and nobody notices: %s", i, changed)
		}
	}
	for _, wrong := range []string{"", "{}", "null", string(data[:len(data)-1]), string(data) + " ", `{"checksum":"` + strings.Repeat("0", 64) + `",}`} {
		if _, err := metadata.Unmarshal([]byte(wrong)); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	good, err := metadata.Marshal(video(vault.NewVideoID()))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", `{"checksum":"`, `{"attempt":0,"checksum":"` + strings.Repeat("0", 64) + `","status":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := metadata.Unmarshal(data)
		if err != nil {
			return
		}
		again, err := metadata.Marshal(v)
		if err != nil {
			t.Fatalf("%s is read but cannot be written: %v", data, err)
		}
		if back, err := metadata.Unmarshal(again); err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%s comes back as %+v, %v", again, back, err)
		}
	})
}

// Whatever a client calls its file, and whatever object it sends along: the record can be read again, its checksum is that
// of the rest, and no text in it can be taken for a status or a checksum of ours.
func FuzzMarshal(f *testing.F) {
	for _, object := range []string{
		`{}`, `{"status":"transcoded","checksum":"x"}`, `{"a":{"\"status\":":[{"checksum":"` + strings.Repeat("0", 64) + `"}]}}`, `{"a":1,"a":2}`,
		`{"sta\u0074us":"x"}`, `{"n":1e400,"m":-0,"k":12345678901234567890}`, `{"\ud800":"\u2028"}`, `[]`, `null`, ``, "{\"a\":\"\xff\"}",
	} {
		f.Add("gait.mp4", "dr-no", object, 1.5)
		f.Add(`","status":"transcoded","checksum":"`+strings.Repeat("0", 64)+`",`, "\x00\xff\u2028", object, 0.0)
	}
	member := regexp.MustCompile(`"checksum":"([0-9a-f]{64})",`)
	f.Fuzz(func(t *testing.T, filename, user, object string, seconds float64) {
		v := video("0190b2e0-7f1c-7cc3-98c4-dc0c0c07398f")
		v.Filename, v.UserID, v.Duration = filename, user, seconds
		var err error
		if v.Metadata, err = metadata.Object(json.RawMessage(object)); err != nil {
			v.Metadata = nil
		}
		data, err := metadata.Marshal(v)
		if err != nil {
			if seconds-seconds == 0 { // JSON has neither NaN nor infinity
				t.Fatalf("cannot be written: %v", err)
			}
			return
		}
		back, err := metadata.Unmarshal(data)
		v.Filename, v.UserID = strings.ToValidUTF8(filename, "\uFFFD"), strings.ToValidUTF8(user, "\uFFFD")
		if len(back.Filename) != len(v.Filename) { // how many marks stand for bytes in a row is the encoder's choice
			v.Filename, v.UserID = back.Filename, back.UserID
		}
		back.UserID = v.UserID
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%+v comes back as %+v, %v", v, back, err)
		}
		sum := sha256.Sum256(member.ReplaceAll(data, nil))
		if found := member.FindAllSubmatch(data, -1); len(found) != 1 || string(found[0][1]) != hex.EncodeToString(sum[:]) {
			t.Errorf("a stranger cannot check %s", data)
		}
		if n := bytes.Count(data, []byte(`"status":"`)); n != 1 {
			t.Errorf(`"status":" stands %d times in %s`, n, data)
		}
	})
}

func TestObject(t *testing.T) {
	for raw, want := range map[string]string{
		`{"b":1,"a":[1.50,{"d":null,"c":"<&>"}]}`: `{"a":[1.50,{"c":"<&>","d":null}],"b":1}`,
		` {} `: `{}`,
	} {
		got, err := metadata.Object(json.RawMessage(raw))
		if err != nil || string(got) != want {
			t.Errorf("Object(%s) = %s, %v, want %s", raw, got, err, want)
		}
	}
	for _, raw := range []string{`null`, `[]`, `"x"`, `1`, `{}{}`, `{"a":}`, ``} {
		if got, err := metadata.Object(json.RawMessage(raw)); err == nil {
			t.Errorf("Object(%s) = %s, want an error", raw, got)
		}
	}
}

// memoryCache is a cache that keeps everything, so that only stamps can tell what is stale.
type memoryCache struct {
	mu      sync.Mutex
	entries map[vault.VideoID][]byte
	hits    int
}

func (c *memoryCache) Get(_ context.Context, id vault.VideoID) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.entries[id]
	if ok {
		c.hits++
	}
	return data, ok
}

func (c *memoryCache) Put(_ context.Context, id vault.VideoID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[id] = data
}

func (c *memoryCache) Drop(context.Context, vault.VideoID) error {
	return errors.New("the cache is down")
}

func newStore(t *testing.T) (*metadata.Store, *media.Dir, *memoryCache) {
	t.Helper()
	root := t.TempDir()
	dir := &media.Dir{Videos: filepath.Join(root, "videos"), Pending: filepath.Join(root, "pending")}
	if err := dir.Init(); err != nil {
		t.Fatal(err)
	}
	cache := &memoryCache{entries: map[vault.VideoID][]byte{}}
	return &metadata.Store{Media: dir, Cache: cache, Now: time.Now}, dir, cache
}

func create(t *testing.T, s *metadata.Store, d *media.Dir) vault.VideoID {
	t.Helper()
	id := vault.NewVideoID()
	if err := os.Mkdir(filepath.Join(d.Videos, string(id)), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), video(id)); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCreateKeepsTheFirstRecord(t *testing.T) {
	s, d, _ := newStore(t)
	id := create(t, s, d)
	second := video(id)
	second.Filename = "other.mp4"
	got, err := s.Create(t.Context(), second)
	if err != nil || got.Filename != "gait <1>.mp4" {
		t.Errorf("Create again = %q, %v", got.Filename, err)
	}
}

func TestUnknownVideoIsNotFound(t *testing.T) {
	s, _, _ := newStore(t)
	id := vault.NewVideoID()
	_, getErr := s.Get(t.Context(), id)
	_, updateErr := s.Update(t.Context(), id, func(*vault.Video) error { return nil })
	_, publicErr := s.Public(t.Context(), id)
	for _, err := range []error{getErr, updateErr, publicErr} {
		if vault.KindOf(err) != vault.NotFound {
			t.Errorf("got %v, want NotFound", err)
		}
	}
}

func TestStatusMovesOnlyWhereItMay(t *testing.T) {
	all := []vault.Status{vault.Uploaded, vault.Transcoding, vault.Transcoded, vault.TranscodeFailed}
	reach := map[vault.Status][]vault.Status{
		vault.Uploaded: {}, vault.Transcoding: {vault.Transcoding},
		vault.Transcoded: {vault.Transcoding, vault.Transcoded}, vault.TranscodeFailed: {vault.Transcoding, vault.TranscodeFailed},
	}
	for from, steps := range reach {
		for _, to := range all {
			s, d, _ := newStore(t)
			id := create(t, s, d)
			move := func(next vault.Status) error {
				_, err := s.Update(t.Context(), id, func(v *vault.Video) error { v.Status = next; return nil })
				return err
			}
			for _, step := range steps {
				if err := move(step); err != nil {
					t.Fatal(err)
				}
			}
			if err := move(to); (err == nil) != (from == to || from.CanBecome(to)) {
				t.Errorf("%s → %s: %v", from, to, err)
			}
		}
	}
}

func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	s, d, _ := newStore(t)
	id := create(t, s, d)
	updateAtOnce(t, id, 40, s, &metadata.Store{Media: &media.Dir{Videos: d.Videos, Pending: d.Pending}, Cache: s.Cache, Now: time.Now})
}

// A bucket has no locks: there, whoever comes second tries again.
func TestConcurrentUpdatesInABucketLoseNothing(t *testing.T) {
	s3 := mediatest.StartS3(t)
	cache := &memoryCache{entries: map[vault.VideoID][]byte{}}
	first := &metadata.Store{Media: s3.Open(t), Cache: cache, Now: time.Now}
	id := vault.NewVideoID()
	var creators sync.WaitGroup
	for range 4 {
		creators.Go(func() {
			if _, err := first.Create(t.Context(), video(id)); err != nil {
				t.Error(err)
			}
		})
	}
	creators.Wait()
	updateAtOnce(t, id, 4, first, &metadata.Store{Media: s3.Open(t), Cache: cache, Now: time.Now})
}

func updateAtOnce(t *testing.T, id vault.VideoID, times int, stores ...*metadata.Store) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			_, err := stores[i%len(stores)].Update(t.Context(), id, func(v *vault.Video) error { v.Attempt++; return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v, err := stores[0].Get(t.Context(), id); err != nil || v.Attempt != times {
		t.Errorf("attempt %d after %d updates (%v)", v.Attempt, times, err)
	}
}

func TestDamagedRecordStopsTheWrite(t *testing.T) {
	s, d, _ := newStore(t)
	id := create(t, s, d)
	path := filepath.Join(d.Videos, string(id), "meta.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(data, []byte("uploaded\""), []byte("Uploaded\""), 1)
	if err := os.WriteFile(path, damaged, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(t.Context(), id, func(*vault.Video) error { t.Error("changed"); return nil }); err == nil {
		t.Error("a damaged record is written over")
	}
	if _, err := s.Create(t.Context(), video(id)); err == nil {
		t.Error("a damaged record is started afresh")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, damaged) {
		t.Error("the damaged record was touched")
	}
}

// Even with a cache that never lets go of anything, Public answers from the record as it is.
func TestPublicIsNeverStale(t *testing.T) {
	s, d, cache := newStore(t)
	id := create(t, s, d)
	for i := range 50 {
		name := fmt.Sprintf("%03d", i)
		if _, err := s.Update(t.Context(), id, func(v *vault.Video) error { v.Filename = name; return nil }); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			data, err := s.Public(t.Context(), id)
			if err != nil || !bytes.Contains(data, []byte(`"filename":"`+name+`"`)) {
				t.Fatalf("after writing %s: %s, %v", name, data, err)
			}
		}
	}
	if cache.hits < 50 {
		t.Errorf("the cache was asked in vain: %d hits", cache.hits)
	}
}

func TestPublicHidesWhatIsOurs(t *testing.T) {
	s, d, _ := newStore(t)
	id := vault.NewVideoID()
	if err := os.Mkdir(filepath.Join(d.Videos, string(id)), 0o750); err != nil {
		t.Fatal(err)
	}
	v := video(id)
	v.UserID, v.Metadata = "dr-no", json.RawMessage(`{"status":"x"}`)
	if _, err := s.Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	data, err := s.Public(t.Context(), id)
	if err != nil || bytes.Contains(data, []byte("dr-no")) || bytes.Contains(data, []byte("attempt")) {
		t.Errorf("Public = %s, %v", data, err)
	}
}
