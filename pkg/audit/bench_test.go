package audit_test

import (
	"context"
	"fmt"
	"testing"

	"pulsevault/pkg/audit"
)

func BenchmarkNote(b *testing.B)   { benchmark(b, (*audit.Log).Note) }
func BenchmarkAppend(b *testing.B) { benchmark(b, (*audit.Log).Append) }

func benchmark(b *testing.B, add func(*audit.Log, context.Context, audit.Category, audit.Event) error) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			l := open(b, audit.Config{Dir: b.TempDir()})
			left := make(chan struct{}, callers)
			b.ReportAllocs()
			for c := range callers {
				go func() {
					for i := c; i < b.N; i += callers {
						if err := add(l, context.Background(), audit.Access, event(i)); err != nil {
							b.Error(err)
							break
						}
					}
					left <- struct{}{}
				}()
			}
			for range callers {
				<-left
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	l := open(b, audit.Config{Dir: dir})
	const n = 20000
	left := make(chan struct{})
	for range 16 {
		go func() {
			for i := range n / 16 {
				if err := l.Note(context.Background(), audit.Access, event(i)); err != nil {
					b.Error(err)
				}
			}
			left <- struct{}{}
		}()
	}
	for range 16 {
		<-left
	}
	closeLog(b, l)
	b.SetBytes(int64(len(read(b, logFile(b, dir)))))
	for b.Loop() {
		if r := verify(b, dir, nil); !r.OK() {
			b.Fatal(r)
		}
	}
}
