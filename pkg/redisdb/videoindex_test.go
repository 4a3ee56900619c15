package redisdb_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

// idsOver returns ids of videos that came one every so often, oldest first.
func idsOver(n int, every time.Duration) (ids []vault.VideoID) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range n {
		u := uuid.Must(uuid.NewV7())
		for i, ms := 5, at.UnixMilli(); i >= 0; i, ms = i-1, ms>>8 {
			u[i] = byte(ms)
		}
		ids, at = append(ids, vault.VideoID(u.String())), at.Add(every)
	}
	return ids
}

func completed(t *testing.T, x redisdb.VideoIndex) {
	t.Helper()
	count, ok, err := x.BeginCount(t.Context(), true)
	if err != nil || !ok {
		t.Fatalf("begin: %v, %v", ok, err)
	}
	if err := count.End(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}

// Whatever the size of a page, and on however many shelves the videos are, the pages together are all videos, newest first.
func TestVideosInTheOrderOfTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		x := redisdb.VideoIndex{Client: redistest.Client(t, o)}
		ids := idsOver(120, 13*time.Hour)
		var anns []vault.VideoID
		for i, id := range ids {
			v := redisdb.Owned{ID: id}
			if i%7 == 0 {
				v.Owner, anns = "ann", append(anns, id)
			}
			if i == 3 {
				v.Owner = "ann:" + string(ids[0][:5]) // looks like a shelf of hers
			}
			if err := x.Add(t.Context(), v, v); err != nil {
				t.Fatal(err)
			}
		}
		completed(t, x)
		for owner, want := range map[string][]vault.VideoID{"": ids, "ann": anns, "bob": nil} {
			want = slices.Clone(want)
			slices.Reverse(want)
			for _, most := range []int{1, 7, 500} {
				var got []vault.VideoID
				for before := vault.VideoID(""); ; before = got[len(got)-1] {
					page, complete, err := x.Before(t.Context(), owner, before, most)
					if err != nil || !complete {
						t.Fatalf("page after %s: %v, %v", before, complete, err)
					}
					if got = append(got, page...); len(page) == 0 {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q in pages of %d: %d videos, want %d in order", owner, most, len(got), len(want))
				}
			}
		}
		if all, err := x.All(t.Context()); err != nil || !slices.Equal(all, ids) {
			t.Errorf("all: %d, %v", len(all), err)
		}
	})
}

func TestRemovedVideosLeaveNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		x := redisdb.VideoIndex{Client: redistest.Client(t, o)}
		ids := idsOver(10, 30*time.Hour)
		for i, id := range ids {
			if err := x.Add(t.Context(), redisdb.Owned{ID: id, Owner: []string{"", "ann"}[i%2]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Remove(t.Context(), append(ids, ids[0], vault.NewVideoID())...); err != nil {
			t.Fatal(err)
		}
		if keys, err := x.Client.Keys(t.Context(), "videos:*").Result(); err != nil || len(keys) > 0 {
			t.Errorf("left are %v, %v", keys, err)
		}
	})
}

// An index that Redis has forgotten is not complete, before and after somebody has added to it, nor after a count that the
// wiping came into.
func TestAWipedIndexIsIncomplete(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		x := redisdb.VideoIndex{Client: redistest.Client(t, o)}
		completed(t, x)
		if _, ok, err := x.BeginCount(t.Context(), false); ok || err != nil {
			t.Errorf("a complete index is counted again: %v", err)
		}
		count, ok, err := x.BeginCount(t.Context(), true)
		if _, second, _ := x.BeginCount(t.Context(), true); !ok || second || err != nil {
			t.Fatalf("the right to count goes to two: %v, %v, %v", ok, second, err)
		}
		if err := x.Client.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if err := x.Add(t.Context(), redisdb.Owned{ID: vault.NewVideoID()}); err != nil {
			t.Fatal(err)
		}
		if count.Keep(t.Context()) == nil || count.End(t.Context(), true) == nil {
			t.Error("a count goes on over a wiped Redis")
		}
		if _, complete, err := x.Before(t.Context(), "", "", 10); complete || err != nil {
			t.Errorf("complete %v, %v", complete, err)
		}
		if count, ok, err = x.BeginCount(t.Context(), false); !ok || err != nil {
			t.Fatal("nobody may count", err)
		}
		if err := count.End(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if _, complete, err := x.Before(t.Context(), "", "", 10); complete || err != nil {
			t.Errorf("after a count that came to no end: complete %v, %v", complete, err)
		}
	})
}

// What Redis says of the index it says of itself as it runs. One that was killed and has come back, with what it had on disk, says
// nothing of it any more, and a count that began before completes nothing, though Redis has kept the right to it.
func TestWhatARestartedRedisSaysIsNotBelieved(t *testing.T) {
	s := redistest.StartWith(t, "--appendonly", "yes", "--appendfsync", "always")
	x := redisdb.VideoIndex{Client: redistest.Client(t, s.Options())}
	completed(t, x)
	count, ok, err := x.BeginCount(t.Context(), true)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, complete, err := x.Before(t.Context(), "", "", 10); !complete || err != nil {
		t.Fatalf("before: %v, %v", complete, err)
	}
	s.Stop()
	s.Restart()
	if n, err := x.Client.Exists(t.Context(), "videos:complete", "videos:checked", "videos:counting").Result(); n != 3 || err != nil {
		t.Fatalf("Redis has kept %d of 3 keys, %v", n, err)
	}
	if _, complete, err := x.Before(t.Context(), "", "", 10); complete || err != nil {
		t.Errorf("after: %v, %v", complete, err)
	}
	if err := count.End(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if _, complete, err := x.Before(t.Context(), "", "", 10); complete || err != nil {
		t.Errorf("after the count of before: %v, %v", complete, err)
	}
	completed(t, x)
	if _, complete, err := x.Before(t.Context(), "", "", 10); !complete || err != nil {
		t.Errorf("after a count of its own: %v, %v", complete, err)
	}
}

func TestWithoutRedisTheIndexIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	x := redisdb.VideoIndex{Client: redistest.Client(t, redisdb.Options{Addr: addr})}
	_, _, before := x.Before(t.Context(), "", "", 10)
	_, _, begin := x.BeginCount(t.Context(), false)
	_, all := x.All(t.Context())
	for what, err := range map[string]error{
		"before": before, "begin": begin, "all": all, "add": x.Add(t.Context(), redisdb.Owned{ID: vault.NewVideoID()}), "remove": x.Remove(t.Context(), vault.NewVideoID()),
	} {
		if vault.KindOf(err) != vault.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
}
