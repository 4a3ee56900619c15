package audit_test

import (
	"bytes"
	"strings"
	"testing"

	"pulsevault/pkg/audit"
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
