package redisdb_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/redisdb/redistest"
	"pulsevault/pkg/vault"
)

// Many processes that create uploads at once are let in up to the limits, and not beyond.
func TestOpenUploadsAreBounded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		var wg sync.WaitGroup
		var in atomic.Int64
		for range 8 {
			open := redisdb.OpenUploads{Client: redistest.Client(t, o), MaxCount: 20, MaxBytes: 1000, Logger: redistest.Logger(t)}
			wg.Go(func() {
				for range 10 {
					switch err := open.Take(t.Context(), 10); vault.KindOf(err) {
					case vault.Unavailable:
					default:
						if in.Add(1); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		open := redisdb.OpenUploads{Client: redistest.Client(t, o), MaxCount: 20, MaxBytes: 1000, Logger: redistest.Logger(t)}
		if count, bytes, err := open.Get(t.Context()); in.Load() != 20 || count != 20 || bytes != 200 || err != nil {
			t.Fatalf("%d got in, counted are %d with %d bytes, %v", in.Load(), count, bytes, err)
		}
		open.Free(t.Context(), 10)
		if err := open.Take(t.Context(), 811); vault.KindOf(err) != vault.NoSpace {
			t.Errorf("1001 bytes: %v", err)
		}
		if err := open.Take(t.Context(), 810); err != nil {
			t.Errorf("1000 bytes: %v", err)
		}
		unbounded := redisdb.OpenUploads{Client: open.Client, Logger: open.Logger}
		if err := unbounded.Take(t.Context(), 1<<50); err != nil {
			t.Errorf("without limits: %v", err)
		}
	})
}

// A sweep's count is taken over, and what was counted twice takes nothing below zero.
func TestOpenUploadsAreCountedAnew(t *testing.T) {
	redistest.Each(t, func(t *testing.T, o redisdb.Options) {
		open := redisdb.OpenUploads{Client: redistest.Client(t, o), MaxCount: 2, Logger: redistest.Logger(t)}
		expect := func(wantCount, wantBytes int64) {
			t.Helper()
			if count, bytes, err := open.Get(t.Context()); count != wantCount || bytes != wantBytes || err != nil {
				t.Errorf("%d uploads, %d bytes, %v; want %d and %d", count, bytes, err, wantCount, wantBytes)
			}
		}
		open.Free(t.Context(), 10)
		expect(0, 0)
		if err := open.Set(t.Context(), 1, 7<<40); err != nil {
			t.Fatal(err)
		}
		if err := open.Take(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		expect(2, 7<<40+1)
		if err := open.Take(t.Context(), 1); vault.KindOf(err) != vault.Unavailable {
			t.Errorf("a third: %v", err)
		}
		for range 3 {
			open.Free(t.Context(), 4<<40)
		}
		expect(0, 0)
	})
}
