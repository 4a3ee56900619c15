package audit_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"pulsevault/pkg/audit"
)

// The encoder of events writes what the json package would.
func FuzzEncodeEvent(f *testing.F) {
	f.Add("media.served", "203.0.113.0", "hls/240p.m3u8", "name", "value", int64(-1))
	f.Add("a", "", "", "", "", int64(0))
	f.Add("\x00\x1f \"\\<&>'\x7f", "é\u2028\U0001f600", "\xff\xc3", "\n", "\u2029\xed\xa0\x80", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, action, address, path, name, value string, number int64) {
		e := audit.Event{Action: action, RequestID: value, UserID: name, Address: address, UploadID: path, VideoID: value, Path: path}
		for _, details := range []map[string]any{nil, {}, {name: value}, {
			"utc": time.Unix(number%1e12, number%1e9).UTC(), "zone": time.Unix(number%1e12, 0).In(time.FixedZone("", 3600)), "zero": time.Time{},
		}, {
			name: number, "b" + name: []any{value, nil, 1.5, map[string]any{value: name}}, value: number > 0, "n": nil, "": int(number), "f": float64(number) / 3,
		}} {
			e.Details = details
			var want bytes.Buffer
			enc := json.NewEncoder(&want)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(e); err != nil { // a year that RFC 3339 has no form for
				if got, err := audit.EncodeEvent(e); err == nil {
					t.Errorf("a time became %s", got)
				}
				continue
			}
			got, err := audit.EncodeEvent(e)
			if err != nil || string(got)+"\n" != want.String() {
				t.Errorf("%s, %v\nwant %s", got, err, &want)
			}
		}
		e.Details = map[string]any{"f": math.Inf(1)}
		if got, err := audit.EncodeEvent(e); err == nil {
			t.Errorf("infinity became %s", got)
		}
	})
}
