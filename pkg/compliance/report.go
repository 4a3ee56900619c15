package compliance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Report is how a configuration answers the safeguards.
type Report struct {
	Rule       string    `json:"rule"`
	Off        int       `json:"off"` // measures that are not in force
	Safeguards []Checked `json:"safeguards"`
}

// Checked is a safeguard as a configuration answers it.
type Checked struct {
	Safeguard
	Measures []Finding `json:"measures"`
}

// Check reports how a configuration answers the safeguards.
func Check(settings Settings) Report {
	r := Report{Rule: "45 CFR 164.312"}
	for _, s := range Safeguards() {
		c := Checked{s, s.Check(settings)}
		for _, f := range c.Measures {
			if f.State == Off {
				r.Off++
			}
		}
		r.Safeguards = append(r.Safeguards, c)
	}
	return r
}

// WriteTo prints the report for people.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	for _, s := range r.Safeguards {
		fmt.Fprintf(&b, "%s%s %s (%s)\n", r.Rule, s.Paragraph, s.Name, s.kind())
		for _, f := range s.Measures {
			fmt.Fprintf(&b, "  %-4s %s\n", f.State, f.Answer)
			for _, line := range []string{f.Why, strings.Join(f.Configured, ", "), "shown by " + strings.Join(f.Tests, ", ")} {
				if line != "" {
					fmt.Fprintf(&b, "       %s\n", line)
				}
			}
		}
		fmt.Fprintf(&b, "  yours: %s\n", s.Clinic)
	}
	fmt.Fprintf(&b, "%d of the measures off\n", r.Off)
	return b.WriteTo(w)
}

// JSON is the report for programs.
func (r Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

func (s Safeguard) kind() string {
	if s.Addressable {
		return "addressable"
	}
	return "required"
}

// Markdown is the table of the safeguards, whatever is configured.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| 164.312 | what answers it | setting | test |\n|---|---|---|---|\n")
	for _, s := range Safeguards() {
		fmt.Fprintf(&b, "| **%s %s** (%s) | left to the clinic: %s | | |\n", s.Paragraph, s.Name, s.kind(), s.Clinic)
		for _, m := range s.Measures {
			fmt.Fprintf(&b, "| | %s | %s | %s |\n", m.Answer, quoted(m.Settings, func(name string) string { return name }), quoted(m.Tests, testName))
		}
	}
	return b.String()
}

// testName is the name of a test without its folder.
func testName(test string) string { return test[strings.LastIndexByte(test, ' ')+1:] }

func quoted(names []string, name func(string) string) string {
	var list []string
	for _, n := range names {
		list = append(list, "`"+name(n)+"`")
	}
	return strings.Join(list, " ")
}
