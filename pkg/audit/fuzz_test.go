package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/vault"
)

// Whatever the parser accepts is in canonical form, and a log made of it is never accepted unless it is one whole line
// that begins a chain.
func FuzzVerify(f *testing.F) {
	line := documented(f)
	f.Add(line + "\n")
	f.Add(line)
	f.Add(line + "\n" + line + "\n")
	f.Add(strings.Replace(line, "served", "sErved", 1) + "\n")
	f.Add(strings.Repeat("x", 100) + "\n\n{}\n")
	f.Fuzz(func(t *testing.T, content string) {
		first, rest, complete := strings.Cut(content, "\n")
		e, err := audit.ParseLine([]byte(first))
		if err == nil && !bytes.HasSuffix([]byte(first), []byte(`,"hash":"`+e.Hash.String()+`"}`)) {
			t.Errorf("accepted a line that does not end with its hash: %q", first)
		}
		dir := t.TempDir()
		write(t, []byte(content), dir, "access-2026-01-31.log")
		r := verify(t, dir, nil)
		if r.OK() && entries(r) > 0 && (err != nil || !complete || e.Seq != 1 || e.PrevHash != (audit.Hash{})) {
			t.Errorf("accepted %q", content)
		}
		if err == nil && complete && rest == "" && e.Seq == 1 && e.PrevHash == (audit.Hash{}) && e.Category == audit.Access &&
			e.Time.Format("2006-01-02") == "2026-01-31" && !r.OK() {
			t.Errorf("refused a whole chain: %s", r)
		}
	})
}

// Whatever is handed in, the log that holds it verifies, tells it again, and verifies no longer when a byte is changed. What
// cannot be an entry leaves no trace.
func FuzzAppend(f *testing.F) {
	f.Add("", "media.served", "dr-no", "203.0.113.7:4711", "hls/master.m3u8", "range", uint(7), byte(1))
	f.Add("0193a5c0-7d2e-7000-8000-000000000001", "\x00\xff\u2028<&>", `","hash":"`+strings.Repeat("0", 64)+`"}`, "::1", "\n", `{"a":1}`, uint(0), byte(0x20))
	f.Add("a b", "x", "", "", "", "", uint(0), byte(1))
	f.Add("x", audit.ActionGap, "", "fe80::1%eth0", "", "", uint(1<<30), byte(0xff))
	f.Add("", "audit.else", "", "", "", "ExpectedSeq", uint(200), byte(0x80))
	f.Fuzz(func(t *testing.T, id, action, user, address, path, detail string, at uint, flip byte) {
		dir := t.TempDir()
		l := open(t, audit.Config{Dir: dir})
		e := audit.Event{ID: id, Action: action, UserID: user, Address: address, Path: path, Details: map[string]any{detail: detail}}
		n := 0
		for range 2 {
			if err := l.Append(t.Context(), audit.Upload, e); err == nil {
				n++
			}
		}
		closeLog(t, l)
		if n == 0 {
			wantWhole(t, dir, 0)
			return
		}
		wantWhole(t, dir, 2)
		name, content := onlyFile(t, dir)
		for line := range strings.Lines(content) {
			wantTold(t, strings.TrimSuffix(line, "\n"), e)
		}
		if flip == 0 {
			return
		}
		changed := []byte(content)
		changed[at%uint(len(changed))] ^= flip
		write(t, changed, dir, name)
		if r := verify(t, dir, nil); r.OK() {
			t.Errorf("byte %d changed, and nobody notices: %q", at%uint(len(changed)), changed)
		}
	})
}

// onlyFile is the one file that the chains have.
func onlyFile(t *testing.T, dir string) (name, content string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("files: %v, %v", paths, err)
	}
	data, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(paths[0]), string(data)
}

// wantTold fails unless a line tells of an event, with its address anonymised.
func wantTold(t *testing.T, line string, e audit.Event) {
	t.Helper()
	entry, err := audit.ParseLine([]byte(line))
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	want, err := json.Marshal(audit.Event{Action: e.Action, UserID: e.UserID, Address: audit.Anonymise(e.Address), Path: e.Path, Details: e.Details})
	if err != nil {
		t.Fatal(err)
	}
	var told, wanted any
	if err := errors.Join(json.Unmarshal(entry.Event, &told), json.Unmarshal(want, &wanted)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(told, wanted) || e.ID != "" && entry.EventID != e.ID {
		t.Errorf("%s of %q tells %s, want %s", entry.EventID, e.ID, entry.Event, want)
	}
}

// A message that is taken can be an entry, word for word; any other is Unprocessable.
func FuzzParseMessage(f *testing.F) {
	const good = `{"category":"access","eventId":"0193a5c0-7d2e-7000-8000-000000000001","time":"2026-01-31T23:59:59.25Z","event":{"action":"media.served","ip":"203.0.113.0"}}`
	f.Add([]byte(good))
	for _, change := range []string{
		`{"action": "x"}`, `{"action":"audit.gap"}`, `{"action":""}`, `{"a":1}`, `[]`, `null`, `{"action":"x","action":"audit.gap"}`, `{"Action":"x"}`, "{\"action\":\"\u2028\xff\"}",
		`{"action":"x","hash":"` + strings.Repeat("0", 64) + `"}`, `{"action":"\\"}`,
	} {
		f.Add([]byte(strings.Replace(good, `{"action":"media.served","ip":"203.0.113.0"}`, change, 1)))
	}
	for _, seed := range []string{"", "{}", strings.Replace(good, "access", "else", 1), strings.Replace(good, "2026", "0001", 1), strings.Replace(good, "0193a5c0", `\"`, 1), strings.Replace(good, "Z", "+23:59", 1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := audit.ParseMessage(body)
		if err != nil {
			if vault.KindOf(err) != vault.Unprocessable {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		e := audit.Entry{Seq: 1, EventID: m.EventID, Category: m.Category, Event: m.Event}
		line, hash := audit.AppendLine(nil, &e, m.Time.UTC().Format("2006-01-02T15:04:05.000000Z"))
		back, err := audit.ParseLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil || back.Hash != hash || back.EventID != m.EventID || !bytes.Equal(back.Event, m.Event) || !back.Time.Equal(m.Time.Truncate(time.Microsecond)) {
			t.Errorf("%q is taken and becomes %q: %v", body, line, err)
		}
	})
}
