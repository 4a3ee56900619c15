package videos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/metadata"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/videos"
	"pulsevault/pkg/web"
)

// world is one store of videos, and any number of collections on it.
type world struct {
	t       *testing.T
	store   videos.Store
	uploads *upload.Dir
	records *counted
	redis   *redis.Client
	log     *audit.Log
	ended   atomic.Int32 // videos whose tasks were ended
	now     time.Time
	root    string
}

// counted counts how many records are read.
type counted struct {
	*metadata.Store
	reads atomic.Int64
}

func (c *counted) Get(ctx context.Context, id vault.VideoID) (vault.Video, error) {
	c.reads.Add(1)
	return c.Store.Get(ctx, id)
}

type noCache struct{}

func (noCache) Get(context.Context, vault.VideoID) ([]byte, bool) { return nil, false }
func (noCache) Put(context.Context, vault.VideoID, []byte)        {}
func (noCache) Drop(context.Context, vault.VideoID) error         { return nil }

type noLocks struct{}

func (noLocks) Hold(context.Context, vault.UploadID) (func(), error) { return func() {}, nil }

func newWorld(t *testing.T, o redisdb.Options) *world {
	t.Helper()
	root := t.TempDir()
	dir := &media.Dir{Videos: filepath.Join(root, "videos"), Pending: filepath.Join(root, "pending")}
	if err := dir.Init(); err != nil {
		t.Fatal(err)
	}
	return newWorldOn(t, o, root, dir)
}

func newWorldOn(t *testing.T, o redisdb.Options, root string, store videos.Store) *world {
	t.Helper()
	w := &world{t: t, root: root, store: store, redis: redistest.Client(t, o), now: time.Now()}
	w.uploads = &upload.Dir{Path: filepath.Join(root, "uploads"), Expiry: time.Hour, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	var err error
	w.log, err = audit.Open(audit.Config{Dir: filepath.Join(root, "audit")})
	if err := errors.Join(err, w.uploads.Init()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.log.Close() })
	w.records = &counted{Store: &metadata.Store{Media: store, Cache: noCache{}, Now: time.Now}}
	return w
}

func (w *world) collection() *videos.Collection {
	markers := media.Markers{Store: w.store}
	return &videos.Collection{
		Records: w.records, Index: redisdb.VideoIndex{Client: w.redis}, Store: w.store, Audit: w.log, Policy: auth.Policy{OwnerDelete: true},
		Now: func() time.Time { return w.now }, Log: redistest.Logger(w.t),
		Deletion: videos.Deletion{
			Uploads: w.uploads, Locks: noLocks{}, MarkedFrom: markers.MarkedFrom, Unmark: markers.Unmark,
			EndTasks: func(context.Context, vault.VideoID) error { w.ended.Add(1); return nil },
			Uncache:  func(context.Context, vault.VideoID) error { return nil },
		},
	}
}

// add makes a video of an owner, from an upload of its own, and lists it unless it is to be found.
func (w *world) add(c *videos.Collection, owner, filename string) vault.Video {
	w.t.Helper()
	return w.addRecord(c, owner, filename, true)
}

// addRecord adds one whose record names its upload, or, as those of before did, does not, and which no marker names either.
func (w *world) addRecord(c *videos.Collection, owner, filename string, named bool) vault.Video {
	w.t.Helper()
	u := vault.Upload{
		UploadID: vault.NewUploadID(), VideoID: vault.NewVideoID(), Size: 1, Offset: 1, HashState: []byte("state"),
		Metadata: map[string]string{"filename": filename}, Finalize: &vault.FinalizeRequest{Filename: filename}, Finalized: true,
	}
	ctx := context.WithoutCancel(w.t.Context())
	_, err := w.store.Write(ctx, media.OriginalKey(u.VideoID), []byte("x"), media.Any)
	from := u.UploadID
	if !named {
		from = ""
	}
	if err := errors.Join(err, w.uploads.Save(ctx, &u), media.Markers{Store: w.store}.Mark(ctx, u.VideoID, from)); err != nil {
		w.t.Fatal(err)
	}
	v, err := w.records.Create(ctx, vault.Video{
		VideoID: u.VideoID, UploadID: from, Filename: filename, UserID: owner, ContentType: "video/mp4", OriginalSize: 1, UploadedAt: time.Now().UTC(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if c != nil {
		c.Enlist(ctx, v)
	}
	v.UploadID = u.UploadID
	return v
}

var (
	ann   = auth.Caller{Name: "ann", Roles: []auth.Role{auth.Uploader}}
	admin = auth.Caller{Name: "root", Roles: []auth.Role{auth.Admin}}
)

// ask sends a request of a caller to a collection.
func ask(c *videos.Collection, caller auth.Caller, method, target string) *httptest.ResponseRecorder {
	return askFrom(c, caller, "192.0.2.1:1234", method, target)
}

// askFrom sends it from an address.
func askFrom(c *videos.Collection, caller auth.Caller, addr, method, target string) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	mux.Handle("GET /videos", web.Handler(c.ServeList))
	mux.Handle("GET /videos/{id}", web.Handler(c.ServeOne))
	mux.Handle("DELETE /videos/{id}", web.Handler(c.ServeDelete))
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = addr
	r.Header.Set("X-Request-Id", "one-of-all") // so that answers can be compared
	w := httptest.NewRecorder()
	o := web.Observer{Log: slog.New(slog.DiscardHandler), Metrics: web.NewMetrics(prometheus.NewRegistry())}
	o.Wrap(mux).ServeHTTP(w, r.WithContext(auth.With(r.Context(), caller)))
	return w
}

type page struct {
	Videos []videos.Entry
	Next   *string
}

func list(t *testing.T, c *videos.Collection, caller auth.Caller, query string) page {
	t.Helper()
	w := ask(c, caller, "GET", "/videos?"+query)
	var p page
	if err := json.Unmarshal(w.Body.Bytes(), &p); w.Code != http.StatusOK || err != nil {
		t.Fatalf("GET /videos?%s: %d %s", query, w.Code, w.Body)
	}
	return p
}

// walk goes over all pages, and does something after each.
func walk(t *testing.T, c *videos.Collection, caller auth.Caller, query string, after func()) (ids []vault.VideoID) {
	t.Helper()
	for next := query; ; {
		p := list(t, c, caller, next)
		for _, e := range p.Videos {
			ids = append(ids, e.VideoID)
		}
		if p.Next == nil {
			return ids
		}
		next = fmt.Sprintf("%s&cursor=%s", query, *p.Next)
		after()
	}
}

// kept lists the files of the world that speak of something.
func (w *world) kept(what string) (paths []string) {
	w.t.Helper()
	err := filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) == "audit" || filepath.Base(filepath.Dir(path)) == "heads" {
			return err
		}
		data, err := os.ReadFile(path)
		if err == nil && contains(path+string(data), what) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return paths
}
