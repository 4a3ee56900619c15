package hls

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Verdict is what came of a rule.
type Verdict string

// The verdicts. A note is what a player copes with and people should know.
const (
	OK   Verdict = "ok"
	Fail Verdict = "FAIL"
	Note Verdict = "note"
	None Verdict = "-" // there was nothing to look at
)

// Result is one finding of a rule, or that it holds.
type Result struct {
	Rule     string  `json:"rule"`
	Source   string  `json:"source"` // where the rule is written
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence"`
}

// Report is what Lint found: for each rule at least one result, in a fixed order.
type Report struct {
	Place   string
	Results []Result
}

// OK reports whether no rule fails.
func (r Report) OK() bool { return len(r.Failed()) == 0 }

// Failed returns the names of the rules that fail, each once.
func (r Report) Failed() (names []string) {
	for _, result := range r.Results {
		if result.Verdict == Fail && (len(names) == 0 || names[len(names)-1] != result.Rule) {
			names = append(names, result.Rule)
		}
	}
	return names
}

// WriteTo writes the report for people: a table, and one line that sums it up.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "RULE\tVERDICT\tEVIDENCE\n")
	for _, result := range r.Results {
		evidence := result.Evidence
		if result.Verdict == Fail {
			evidence += " (" + result.Source + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", result.Rule, result.Verdict, evidence)
	}
	if err := table.Flush(); err != nil {
		return 0, err
	}
	if failed := r.Failed(); len(failed) > 0 {
		fmt.Fprintf(&b, "%d of %d rules fail: %s\n", len(failed), len(rules), strings.Join(failed, ", "))
	} else {
		fmt.Fprintf(&b, "No rule fails.\n")
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// findings collects what one rule says.
type findings struct {
	rule  rule
	good  []string
	bad   []Result
	extra int // more of the same than anybody reads
}

const mostFindings = 6 // of one rule

func (f *findings) ok(format string, args ...any) {
	f.good = append(f.good, fmt.Sprintf(format, args...))
}
func (f *findings) fail(format string, args ...any) {
	f.add(Fail, fmt.Sprintf(format, args...))
}
func (f *findings) note(format string, args ...any) {
	f.add(Note, fmt.Sprintf(format, args...))
}

func (f *findings) add(v Verdict, evidence string) {
	if len(f.bad) == mostFindings && v == Fail {
		f.extra++
		return
	}
	f.bad = append(f.bad, Result{f.rule.name, f.rule.source, v, evidence})
}

func (f *findings) results() []Result {
	if f.extra > 0 {
		f.bad[len(f.bad)-1].Evidence += fmt.Sprintf("; and %d more", f.extra)
	}
	if len(f.bad) > 0 {
		return f.bad
	}
	if len(f.good) == 0 {
		return []Result{{f.rule.name, f.rule.source, None, "nothing to look at"}}
	}
	return []Result{{f.rule.name, f.rule.source, OK, strings.Join(f.good, "; ")}}
}
