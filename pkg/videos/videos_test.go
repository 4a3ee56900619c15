package videos_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
	"pulsevault/pkg/videos"
)

func contains(s, what string) bool { return strings.Contains(s, what) }

// Videos that come and go while somebody pages neither push another out of the pages nor show one twice.
func TestCursorsStandStill(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		w := newWorld(t, o)
		c := w.collection()
		var all []vault.VideoID
		for range 30 {
			all = append([]vault.VideoID{w.add(c, "ann", "a.mp4").VideoID}, all...)
		}
		gone := 0
		got := walk(t, c, ann, "limit=4", func() {
			w.add(c, "ann", "new.mp4")
			ask(c, admin, "DELETE", "/videos/"+string(all[gone])) // which has been shown
			gone += 2
		})
		if !slices.Equal(got, all) {
			t.Errorf("%d videos in pages, want the %d that were there, newest first", len(got), len(all))
		}
	})
}

// Everybody sees their own videos, and hears of others' what is said of those that never were.
func TestOwnersSeeTheirOwn(t *testing.T) {
	w := newWorld(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
	c := w.collection()
	hers, his, nobodys := w.add(c, "ann", "a.mp4"), w.add(c, "bob", "b.mp4"), w.add(c, "", "n.mp4")
	if got := walk(t, c, ann, "", nil); !slices.Equal(got, []vault.VideoID{hers.VideoID}) {
		t.Errorf("ann sees %v", got)
	}
	for _, caller := range []auth.Caller{admin, auth.Anybody, {Name: "v", Roles: []auth.Role{auth.Viewer}}} {
		if got := walk(t, c, caller, "", nil); !slices.Equal(got, []vault.VideoID{nobodys.VideoID, his.VideoID, hers.VideoID}) {
			t.Errorf("%v sees %v", caller.Roles, got)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		none := ask(c, ann, method, "/videos/"+string(vault.NewVideoID()))
		for _, id := range []string{string(his.VideoID), string(nobodys.VideoID), "x", strings.ToUpper(string(hers.VideoID))} {
			if got := ask(c, ann, method, "/videos/"+id); got.Code != http.StatusNotFound || got.Body.String() != none.Body.String() {
				t.Errorf("%s %s: %d %s", method, id, got.Code, got.Body)
			}
		}
	}
	for _, target := range []string{"/videos", "/videos/" + string(hers.VideoID)} {
		if got := ask(c, auth.Caller{}, "GET", target); got.Code != http.StatusNotFound {
			t.Errorf("nobody gets %s: %d", target, got.Code)
		}
	}
	if got := ask(c, ann, "GET", "/videos/"+string(hers.VideoID)); got.Code != http.StatusOK || contains(got.Body.String(), string(hers.UploadID)) {
		t.Errorf("her own video: %d %s", got.Code, got.Body)
	}
}

// A filter looks at a thousand videos for a page, and says where to go on.
func TestFilters(t *testing.T) {
	w := newWorld(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
	c := w.collection()
	rare := w.add(c, "ann", "Gait ÄB <1>.mp4")
	for range 1100 {
		w.add(c, "ann", "knee.mp4")
	}
	w.records.reads.Store(0)
	p := list(t, c, admin, "filename=gait+%C3%A4b&limit=100")
	if len(p.Videos) != 0 || p.Next == nil || w.records.reads.Load() > 1000 {
		t.Fatalf("%d videos, next %v, after %d reads", len(p.Videos), p.Next, w.records.reads.Load())
	}
	if got := walk(t, c, admin, "filename=gait+%C3%A4b&limit=100", func() {}); !slices.Equal(got, []vault.VideoID{rare.VideoID}) {
		t.Errorf("found %v", got)
	}
	if p := list(t, c, admin, "status=transcoded"); len(p.Videos) != 0 {
		t.Errorf("%d videos are transcoded", len(p.Videos))
	}
	if got := walk(t, c, admin, "status=uploaded&filename=KNEE&limit=99", func() {}); len(got) != 1100 {
		t.Errorf("%d of 1100 in pages", len(got))
	}
}

func TestQueriesAreStrict(t *testing.T) {
	id := string(vault.NewVideoID())
	good := "AAAAAAAAAAAAAAAAAAAAAA"
	for _, raw := range []string{
		"limit=0", "limit=101", "limit=+5", "limit=05", "limit=x", "limit=", "limit=1&limit=1", "status=", "status=done", "filename=", "filename=%FF",
		"filename=" + strings.Repeat("a", 256), "cursor=", "cursor=" + id, "cursor=" + good + "A", "cursor=" + good[1:] + "B", "cursor=" + good + "%0A", "cursor=" + good + "==",
		"owner=ann", "Limit=5", "limit=%zz",
	} {
		if q, err := videos.ParseQuery(raw); vault.KindOf(err) != vault.Invalid {
			t.Errorf("%q is %+v, %v", raw, q, err)
		}
	}
	if q, err := videos.ParseQuery("limit=100&status=uploaded&filename=%C3%84&cursor=" + good); err != nil || q.Limit != 100 || q.Text != "ä" || q.Before != "00000000-0000-0000-0000-000000000000" {
		t.Errorf("%+v, %v", q, err)
	}
}

// archive are records that are made when they are asked for.
type archive struct{ reads atomic.Int64 }

func (a *archive) Get(_ context.Context, id vault.VideoID) (vault.Video, error) {
	a.reads.Add(1)
	return vault.Video{VideoID: id, Filename: "a.mp4", UserID: "ann", Status: vault.Transcoded}, nil
}

// commands counts what Redis is asked.
type commands struct{ n atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n.Add(1); return next(ctx, cmd) }
}
func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// spread are ids of videos of which one came every quarter of an hour.
func spread(n int) (all []redisdb.Owned) {
	for i := range n {
		ms := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() + int64(i)*15*60*1000
		id := string(vault.NewVideoID())
		hex := []byte("0123456789ab")
		for j := 11; j >= 0; j, ms = j-1, ms>>4 {
			hex[j] = "0123456789abcdef"[ms&15]
		}
		all = append(all, redisdb.Owned{ID: vault.VideoID(string(hex[:8]) + "-" + string(hex[8:]) + id[13:]), Owner: "ann"})
	}
	return all
}

func bigCollection(t testing.TB, n int) (*videos.Collection, *archive, *commands) {
	t.Helper()
	m := redistest.Mini(&testing.T{})
	t.Cleanup(m.Close)
	client, count, records := redisdb.Open(redisdb.Options{Addr: m.Addr()}), &commands{}, &archive{}
	t.Cleanup(func() { _ = client.Close() })
	x := redisdb.VideoIndex{Client: client}
	for some := range slices.Chunk(spread(n), 100) {
		if err := x.Add(t.Context(), some...); err != nil {
			t.Fatal(err)
		}
	}
	right, _, err := x.BeginCount(t.Context(), true)
	if err != nil || right.End(t.Context(), true) != nil {
		t.Fatal(err)
	}
	client.AddHook(count)
	return &videos.Collection{Records: records, Index: x}, records, count
}

// What a page costs does not depend on how many videos there are: first page, one in the middle, and own ones.
func TestAPageCostsTheSame(t *testing.T) {
	var costs [][2]int64
	for _, n := range []int{1000, 100_000} {
		c, records, count := bigCollection(t, n)
		middle := spread(n)[n/2].ID
		for _, q := range []videos.Query{{Limit: 50}, {Limit: 50, Before: middle}, {Limit: 50, Status: vault.Uploaded}} {
			for _, caller := range []auth.Caller{admin, ann} {
				records.reads.Store(0)
				count.n.Store(0)
				if _, err := c.List(t.Context(), caller, q); err != nil {
					t.Fatal(err)
				}
				costs = append(costs, [2]int64{records.reads.Load(), count.n.Load()})
			}
		}
	}
	small, large := costs[:len(costs)/2], costs[len(costs)/2:]
	for i := range small {
		if large[i][0] > small[i][0] || large[i][1] > small[i][1]*2+5 || large[i][0] < 50 {
			t.Errorf("query %d: %d records and %d commands of 100,000 videos, %d and %d of 1000", i, large[i][0], large[i][1], small[i][0], small[i][1])
		}
	}
	t.Logf("records and commands: %v of 1000, %v of 100,000", small, large)
}

func BenchmarkPage(b *testing.B) {
	for name, n := range map[string]int{"100": 100, "100000": 100_000} {
		b.Run(name, func(b *testing.B) {
			c, _, _ := bigCollection(b, n)
			for b.Loop() {
				if _, err := c.List(b.Context(), admin, videos.Query{Limit: 50}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Redis is wiped. Several processes make the index anew at once, and read each record once; meanwhile videos come, and go,
// and at the end those that there are are listed.
func TestTheIndexIsMadeAnew(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		w := newWorld(t, o)
		var kept []vault.VideoID
		var doomed []vault.Video
		for i := range 700 {
			v := w.add(nil, "ann", "a.mp4")
			if i%10 == 0 {
				doomed = append(doomed, v)
			} else {
				kept = append(kept, v.VideoID)
			}
		}
		w.records.reads.Store(0)
		var others, counting sync.WaitGroup
		added := make([]vault.VideoID, 60)
		others.Go(func() {
			c := w.collection()
			for i := range added {
				added[i] = w.add(c, "ann", "new.mp4").VideoID
			}
		})
		others.Go(func() {
			c := w.collection()
			for _, v := range doomed {
				if got := ask(c, admin, "DELETE", "/videos/"+string(v.VideoID)); got.Code != http.StatusNoContent {
					t.Errorf("DELETE: %d %s", got.Code, got.Body)
				}
			}
		})
		for range 4 {
			counting.Go(func() {
				if _, err := w.collection().Complete(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		counting.Wait()
		others.Wait()
		// Beside those of the index, a deletion reads its video, and a creation looks whether there is a record.
		if n, most := w.records.reads.Load(), int64(700+60+len(doomed)); n > most {
			t.Errorf("%d records were read, want %d at most", n, most)
		}
		want := append(kept, added...)
		slices.Sort(want)
		slices.Reverse(want)
		if got := walk(t, w.collection(), ann, "limit=100", func() {}); !slices.Equal(got, want) {
			t.Errorf("%d videos are listed, want %d", len(got), len(want))
		}
		x := redisdb.VideoIndex{Client: w.redis}
		if all, err := x.All(t.Context()); err != nil || len(all) != len(want) {
			t.Errorf("%d videos are in the index, want %d (%v)", len(all), len(want), err)
		}
	})
}

// Redis is killed and comes back as it was some time ago: from a snapshot, or from a log whose end had not reached the
// disk. The next list, of any process, shows what there is.
func TestARedisThatHasGoneBackInTime(t *testing.T) {
	for kept, args := range map[string][]string{
		"snapshot": {"--save", "", "--appendonly", "no"},
		"log":      {"--appendonly", "yes", "--appendfsync", "no"}, // so that no sync defers a write to the log
	} {
		t.Run(kept, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartWith(t, args...)
			w := newWorld(t, s.Options())
			c := w.collection()
			var want []vault.VideoID
			add := func() vault.VideoID {
				id := w.add(c, "ann", "a.mp4").VideoID
				want = append([]vault.VideoID{id}, want...)
				return id
			}
			gone := add()
			for range 4 {
				add()
			}
			old := slices.Clone(want)
			if got := walk(t, c, ann, "", nil); !slices.Equal(got, want) {
				t.Fatalf("listed are %d videos", len(got))
			}
			goBack := remember(t, w, s, kept)
			for range 3 {
				add()
			}
			if got := ask(c, admin, "DELETE", "/videos/"+string(gone)); got.Code != http.StatusNoContent {
				t.Fatal(got.Code, got.Body)
			}
			want = slices.DeleteFunc(want, func(id vault.VideoID) bool { return id == gone })
			goBack()
			slices.Sort(old)
			if got, err := (redisdb.VideoIndex{Client: w.redis}).All(t.Context()); err != nil || !slices.Equal(got, old) {
				t.Fatalf("Redis is not what it was: %v, %v", got, err)
			}
			for range 2 {
				if got := walk(t, w.collection(), ann, "", nil); !slices.Equal(got, want) {
					t.Errorf("listed are %v, want %v", got, want)
				}
			}
		})
	}
}

// remember returns what kills a Redis and has it come back as it is now.
func remember(t *testing.T, w *world, s *redistest.Server, kept string) (goBack func()) {
	t.Helper()
	if kept == "snapshot" {
		if err := w.redis.Save(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return func() { s.Stop(); s.Restart() }
	}
	logs, err := filepath.Glob(filepath.Join(s.Dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("the log is %v, %v", logs, err)
	}
	info, err := os.Stat(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		s.Stop()
		if err := os.Truncate(logs[0], info.Size()); err != nil {
			t.Fatal(err)
		}
		s.Restart()
	}
}

// What a process could not put into the index is found, and what is too much is removed, by the next comparison; that is the
// next one of that process, or after an hour.
func TestWhatTheIndexMissedIsFound(t *testing.T) {
	mini := redistest.Mini(t)
	w := newWorld(t, redisdb.Options{Addr: mini.Addr()})
	c := w.collection()
	first := w.add(c, "ann", "a.mp4")
	list(t, c, ann, "")
	mini.SetError("LOADING")
	missed := w.add(c, "ann", "b.mp4")
	mini.SetError("")
	if err := os.RemoveAll(filepath.Join(w.root, "videos", string(first.VideoID))); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Complete(t.Context()); n != 2 || err != nil {
		t.Errorf("%d videos were put right, %v", n, err)
	}
	if got := walk(t, c, ann, "", nil); !slices.Equal(got, []vault.VideoID{missed.VideoID}) {
		t.Errorf("listed are %v", got)
	}
	w.records.reads.Store(0)
	if n, err := c.Complete(t.Context()); n != 0 || err != nil || w.records.reads.Load() != 0 {
		t.Errorf("a complete index is compared again: %d, %v", n, err)
	}
}

// Without Redis there is no list; one video is shown and removed all the same, and the sweep does the rest later.
func TestWithoutRedis(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	w := newWorld(t, redisdb.Options{Addr: l.Addr().String()})
	c := w.collection()
	v := w.add(nil, "ann", "secret-name.mp4")
	if got := ask(c, ann, "GET", "/videos"); got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("list: %d %s", got.Code, got.Body)
	}
	if got := ask(c, ann, "GET", "/videos/"+string(v.VideoID)); got.Code != http.StatusOK {
		t.Errorf("one: %d %s", got.Code, got.Body)
	}
	if got := ask(c, ann, "DELETE", "/videos/"+string(v.VideoID)); got.Code != http.StatusNoContent {
		t.Errorf("delete: %d %s", got.Code, got.Body)
	}
	if got := ask(c, ann, "GET", "/videos/"+string(v.VideoID)); got.Code != http.StatusNotFound {
		t.Errorf("after it: %d %s", got.Code, got.Body)
	}
	w.redis = redistest.Client(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
	if n, err := w.collection().Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("the sweep goes on with %d, %v", n, err)
	}
	if left := w.kept("secret-name"); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// A record that is damaged is a line of its page, for whoever may see every video, and can be removed.
func TestDamagedRecords(t *testing.T) {
	w := newWorld(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
	c := w.collection()
	before, damaged, after := w.add(c, "ann", "a.mp4"), w.add(c, "ann", "b.mp4"), w.add(c, "ann", "c.mp4")
	if _, err := w.store.Write(t.Context(), media.MetaKey(damaged.VideoID), []byte(`{"x"`), media.Any); err != nil {
		t.Fatal(err)
	}
	for _, caller := range []auth.Caller{admin, ann} {
		p := list(t, c, caller, "")
		if len(p.Videos) != 3 || p.Videos[0].VideoID != after.VideoID || !p.Videos[1].Damaged || p.Videos[1].UploadedAt.IsZero() || p.Videos[2].VideoID != before.VideoID {
			t.Errorf("%+v", p.Videos)
		}
	}
	target := "/videos/" + string(damaged.VideoID)
	if got := ask(c, ann, "GET", target); got.Code != http.StatusNotFound {
		t.Errorf("whose it is cannot be known, and ann gets %d", got.Code)
	}
	if got := ask(c, admin, "GET", target); got.Code != http.StatusOK || !contains(got.Body.String(), `"damaged":true`) {
		t.Errorf("GET: %d %s", got.Code, got.Body)
	}
	if got := ask(c, admin, "DELETE", target); got.Code != http.StatusNoContent || len(list(t, c, admin, "").Videos) != 2 {
		t.Errorf("DELETE: %d %s", got.Code, got.Body)
	}
}

// Nothing is left of a removed video but that it was, and who removed it. Whoever writes for it later writes in vain.
func TestDeletionLeavesNothing(t *testing.T) {
	for name, store := range map[string]func(t *testing.T) videos.Store{
		"directory": nil,
		"bucket":    func(t *testing.T) videos.Store { return mediatest.StartS3(t).Open(t) },
	} {
		t.Run(name, func(t *testing.T) {
			o := redisdb.Options{Addr: redistest.Mini(t).Addr()}
			w := newWorld(t, o)
			if store != nil {
				w = newWorldOn(t, o, t.TempDir(), store(t))
			}
			c := w.collection()
			v := w.add(c, "ann", "secret-name.mp4")
			if got := ask(c, ann, "DELETE", "/videos/"+string(v.VideoID)); got.Code != http.StatusNoContent || w.ended.Load() != 1 {
				t.Fatalf("%d %s", got.Code, got.Body)
			}
			wantGone(t, w, v, `"userId":"ann"`)
			// A finalize that was still under way makes record and marker anew, and takes them back.
			_, err := w.store.Write(t.Context(), media.OriginalKey(v.VideoID), []byte("x"), media.Any)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.records.Create(t.Context(), v)
			if err := errors.Join(err, media.Markers{Store: w.store}.Mark(t.Context(), v.VideoID, v.UploadID)); err != nil {
				t.Fatal(err)
			}
			if gone, err := c.Gone(t.Context(), v.VideoID); !gone || err != nil {
				t.Errorf("gone: %v, %v", gone, err)
			}
			if gone, err := c.Gone(t.Context(), vault.NewVideoID()); gone || err != nil {
				t.Errorf("another is gone: %v, %v", gone, err)
			}
			wantGone(t, w, v, `"userId":"ann"`)
			late := media.HLSKey(v.VideoID, "240p_000.ts")
			if _, err := w.store.Write(t.Context(), late, []byte("late"), media.Any); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Sweep(t.Context()); n != 0 || err != nil {
				t.Errorf("a sweep at once removes %d, %v", n, err)
			}
			w.now = w.now.Add(61 * time.Minute)
			if n, err := c.Sweep(t.Context()); n != 1 || err != nil {
				t.Errorf("a sweep after an hour removes %d, %v", n, err)
			}
			wantGone(t, w, v, `"userId":"ann"`)
			if keys, err := w.store.List(t.Context(), media.DeletionPrefix); err != nil || len(keys) > 0 {
				t.Errorf("left are %v, %v", keys, err)
			}
		})
	}
}

// A record of before records named their uploads does not lead to its upload. That is told of the deletion all the same.
func TestDeletionFindsTheUpload(t *testing.T) {
	w := newWorld(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
	c := w.collection()
	v := w.addRecord(c, "ann", "secret-name.mp4", false)
	if got := ask(c, ann, "DELETE", "/videos/"+string(v.VideoID)); got.Code != http.StatusNoContent {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	wantGone(t, w, v, `"uploadId":"`+string(v.UploadID)+`"`)
}

// deaf is an audit log that takes no entries.
type deaf struct{ videos.Auditor }

func (deaf) Append(context.Context, audit.Category, audit.Event) error {
	return errors.New("the disk is full")
}

// A deletion that was cut short before it was on record is recorded by the sweep as by whoever asked for it: with name and
// address. Somebody who asks once more meanwhile does not get mixed up with them.
func TestTheSweepTellsWhoAskedForADeletion(t *testing.T) {
	for full, want := range map[bool]string{false: `"ip":"192.0.2.0"`, true: `"ip":"192.0.2.1"`} {
		w := newWorld(t, redisdb.Options{Addr: redistest.Mini(t).Addr()})
		c := w.collection()
		v := w.add(c, "ann", "secret-name.mp4")
		log, err := audit.Open(audit.Config{Dir: filepath.Join(w.root, "audit"), FullIP: full})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close() })
		c.Audit, c.FullAddress = deaf{log}, full
		for _, from := range []string{"192.0.2.1:1234", "198.51.100.7:1234"} {
			if got := askFrom(c, admin, from, "DELETE", "/videos/"+string(v.VideoID)); got.Code < 500 {
				t.Fatalf("nothing can be recorded, and the answer is %d %s", got.Code, got.Body)
			}
		}
		intent, _, err := w.store.Read(t.Context(), media.DeletionKey(v.VideoID))
		if err != nil || !contains(string(intent), want) {
			t.Errorf("full %v: kept is %s, %v", full, intent, err)
		}
		c.Audit = log
		if n, err := c.Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("the sweep removes %d, %v", n, err)
		}
		wantGone(t, w, v, `"userId":"root"`, want)
	}
}

// wantGone fails the test unless all that is left of a video is one entry of the audit log, which says those things.
func wantGone(t *testing.T, w *world, v vault.Video, says ...string) {
	t.Helper()
	if ids, err := w.store.VideoIDs(t.Context()); err != nil || len(ids) > 0 {
		t.Errorf("there are %v, %v", ids, err)
	}
	if marked, err := (media.Markers{Store: w.store}).Marked(t.Context()); err != nil || len(marked) > 0 {
		t.Errorf("marked are %v, %v", marked, err)
	}
	u, err := w.uploads.Get(t.Context(), v.UploadID)
	if err != nil || !u.Deleted || u.Metadata != nil || u.HashState != nil || u.Finalize.Filename != "" {
		t.Errorf("the upload's record: %+v, %v", u, err)
	}
	if left := w.kept("secret-name"); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
	var log []byte
	paths, _ := filepath.Glob(filepath.Join(w.root, "audit", "upload-*.log"))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, data...)
	}
	if n := strings.Count(string(log), `"action":"video.deleted"`); n != 1 {
		t.Errorf("the audit log tells of %d deletions: %s", n, log)
	}
	for _, what := range says {
		if !contains(string(log), what) {
			t.Errorf("the audit log does not tell of %s: %s", what, log)
		}
	}
}
