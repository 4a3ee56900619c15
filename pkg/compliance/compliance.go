// Package compliance says how PulseVault answers the technical safeguards of 45 CFR 164.312, and which of the answers a
// configuration has switched off. The table in it is the only one: docs/security.md has its copy from here, and `pulsevault
// compliance` prints it. It claims nothing that a test does not show.
package compliance

import "strings"

// Settings are the environment variables that PulseVault is configured by: os.Getenv. They have been found valid.
type Settings func(name string) string

// Safeguard is a standard of the rule, or an implementation specification of one.
type Safeguard struct {
	Paragraph   string    `json:"paragraph"` // of 45 CFR 164.312
	Name        string    `json:"name"`      // as the rule has it
	Addressable bool      `json:"addressable"`
	Measures    []Measure `json:"measures"`
	// Clinic is what no software does: it is left to whoever runs it.
	Clinic string `json:"clinic"`
}

// Measure is one thing that PulseVault does for a safeguard.
type Measure struct {
	Answer   string   `json:"answer"`
	Settings []string `json:"settings"` // what it depends on
	Tests    []string `json:"tests"`    // that show it, as "folder TestName"
	// off says why the measure is not in force as configured; nothing if it is. A nil one always is.
	off func(Settings) string
}

// State is whether a measure is in force.
type State string

// The states.
const (
	On  State = "on"
	Off State = "off"
)

// Finding is a measure as a configuration has it.
type Finding struct {
	Measure
	Configured []string `json:"configured"` // each setting as it is; of a secret, whether it is set
	State      State    `json:"state"`
	Why        string   `json:"why,omitempty"` // it is off, and what to do
}

// Check says which of a safeguard's measures are in force.
func (s Safeguard) Check(settings Settings) []Finding {
	findings := make([]Finding, 0, len(s.Measures))
	for _, m := range s.Measures {
		f := Finding{Measure: m, Configured: []string{}, State: On}
		for _, name := range m.Settings {
			f.Configured = append(f.Configured, settings.show(name))
		}
		if m.off != nil {
			f.Why = m.off(settings)
		}
		if f.Why != "" {
			f.State = Off
		}
		findings = append(findings, f)
	}
	return findings
}

// show tells a setting, and of a secret no more than that there is one.
func (s Settings) show(name string) string {
	switch value := s(name); {
	case value == "":
		return name + " is not set"
	case strings.Contains(name, "SECRET"), strings.Contains(name, "PASSWORD"), strings.HasSuffix(name, "_KEY"):
		return name + " is set"
	default:
		return name + "=" + value
	}
}
