package upload

import (
	"context"
	"log/slog"

	xslog "golang.org/x/exp/slog"
)

// logBridge hands tusd's log, which is written with golang.org/x/exp/slog, to log/slog. tusd tells of every request at
// level Info; requests are logged once, by package web, so what tusd says goes one level down.
type logBridge struct{ next slog.Handler }

func (b logBridge) Enabled(ctx context.Context, level xslog.Level) bool {
	return b.next.Enabled(ctx, slog.Level(level)-4)
}

func (b logBridge) Handle(ctx context.Context, r xslog.Record) error {
	out := slog.NewRecord(r.Time, slog.Level(r.Level)-4, "tus: "+r.Message, 0)
	r.Attrs(func(a xslog.Attr) bool {
		out.AddAttrs(bridgeAttr(a))
		return true
	})
	return b.next.Handle(ctx, out)
}

func (b logBridge) WithAttrs(attrs []xslog.Attr) xslog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = bridgeAttr(a)
	}
	return logBridge{b.next.WithAttrs(out)}
}

func (b logBridge) WithGroup(name string) xslog.Handler { return logBridge{b.next.WithGroup(name)} }

func bridgeAttr(a xslog.Attr) slog.Attr { return slog.Any(a.Key, a.Value.Any()) }
