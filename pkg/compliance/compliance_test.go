package compliance_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pulsevault/pkg/compliance"
)

var update = flag.Bool("update", false, "write the table into docs/security.md")

// with are settings, given as NAME=value, over those of a clinic that has everything on.
func with(changes ...string) compliance.Settings {
	settings := map[string]string{
		"APP_ENV": "production", "AUTH_MODE": "apikey", "HMAC_SECRET": strings.Repeat("s", 32), "HOST": "0.0.0.0", "TRUSTED_PROXIES": "10.0.0.0/8",
		"REDIS_HOST": "redis", "REDIS_PASSWORD": "p", "REDIS_TLS": "true", "CORS_ORIGINS": "https://clinic.example", "S3_ENDPOINT": "https://s3.example",
	}
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		settings[name] = value
	}
	return func(name string) string { return settings[name] }
}

func TestAClinicThatHasEverythingOn(t *testing.T) {
	for _, settings := range [][]string{nil, {"AUTH_MODE=oidc"}, {"HOST=127.0.0.1", "TRUSTED_PROXIES="}, {"REDIS_HOST=", "REDIS_PASSWORD=", "REDIS_TLS="}, {"REDIS_HOST=::1", "REDIS_TLS="}, {"S3_ENDPOINT=http://127.0.0.1:7070"}} {
		if r := compliance.Check(with(settings...)); r.Off != 0 {
			t.Errorf("%v: %d off: %v", settings, r.Off, offs(r))
		}
	}
}

// Each setting that weakens an answer is found, with what to do, at each safeguard that it weakens and at no other.
func TestWhatIsOffIsFound(t *testing.T) {
	for setting, paragraphs := range map[string][]string{
		"AUTH_MODE=none":                    {"(a)(1)", "(a)(1)", "(a)(2)(i)", "(a)(2)(ii)", "(c)(1)", "(d)"},
		"AUTH_MODE=":                        {"(a)(1)", "(a)(1)", "(a)(2)(i)", "(a)(2)(ii)", "(c)(1)", "(d)"},
		"HMAC_SECRET=":                      {"(a)(1)"},
		"APP_ENV=development":               {"(a)(1)"},
		"CORS_ORIGINS=*":                    {"(a)(1)"},
		"CORS_ORIGINS=https://a.example,*":  {"(a)(1)"},
		"TOKEN_MAX_SECONDS=90000":           {"(a)(2)(iii)"},
		"REDIS_PASSWORD=":                   {"(d)"},
		"HMAC_SECRET_PREVIOUS=" + "x":       {"(d)"},
		"TRUSTED_PROXIES=":                  {"(e)(1)"},
		"REDIS_TLS=false":                   {"(e)(2)(ii)"},
		"S3_ENDPOINT=http://s3.example":     {"(e)(2)(ii)"},
		"SQS_ENDPOINT=http://10.0.0.5:9324": {"(e)(2)(ii)"},
	} {
		r := compliance.Check(with(setting))
		if got := offs(r); !slices.Equal(got, paragraphs) || r.Off != len(paragraphs) {
			t.Errorf("%s: off are %v, want %v", setting, got, paragraphs)
		}
		name, _, _ := strings.Cut(setting, "=")
		var text bytes.Buffer
		if _, err := r.WriteTo(&text); err != nil || !strings.Contains(text.String(), name) || !strings.Contains(text.String(), "\n  off ") {
			t.Errorf("%s is not named in\n%s", name, &text)
		}
	}
}

// offs are the paragraphs of what is off.
func offs(r compliance.Report) (paragraphs []string) {
	for _, s := range r.Safeguards {
		for _, f := range s.Measures {
			if f.State == compliance.Off {
				paragraphs = append(paragraphs, s.Paragraph)
			}
		}
	}
	return paragraphs
}

// The report for programs says what the one for people does, and neither tells a secret.
func TestTheReportForPrograms(t *testing.T) {
	r := compliance.Check(with("REDIS_PASSWORD=opensesame", "HMAC_SECRET=opensesame", "AUTH_MODE=none"))
	data, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Off        int
		Safeguards []struct {
			Paragraph, Name, Clinic string
			Measures                []struct{ Answer, State, Why string }
		}
	}
	if err := json.Unmarshal(data, &back); err != nil || back.Off != r.Off || len(back.Safeguards) != len(compliance.Safeguards()) {
		t.Fatalf("%s, %v", data, err)
	}
	if m := back.Safeguards[0].Measures[0]; m.State != "off" || m.Why == "" || m.Answer == "" {
		t.Errorf("%+v", m)
	}
	var text bytes.Buffer
	if _, err := r.WriteTo(&text); err != nil || bytes.Contains(data, []byte("opensesame")) || strings.Contains(text.String(), "opensesame") {
		t.Error("a secret is told")
	}
	for _, line := range []string{"AUTH_MODE=none, ALLOW_UNAUTHENTICATED is not set", "REDIS_HOST=redis, REDIS_PASSWORD is set", "shown by pkg/auth TestTable"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("%q is not said in\n%s", line, &text)
		}
	}
}

// The paragraphs of the rule, all of them and in its order.
func TestNoSafeguardIsLeftOut(t *testing.T) {
	want := []string{"(a)(1)", "(a)(2)(i)", "(a)(2)(ii)", "(a)(2)(iii)", "(a)(2)(iv)", "(b)", "(c)(1)", "(c)(2)", "(d)", "(e)(1)", "(e)(2)(i)", "(e)(2)(ii)"}
	var got []string
	for _, s := range compliance.Safeguards() {
		got = append(got, s.Paragraph)
		if s.Name == "" || s.Clinic == "" {
			t.Errorf("%s has no name, or says nothing of what is left to the clinic", s.Paragraph)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("safeguards %v, want %v", got, want)
	}
}

// Every test that is named is there, in the folder that is named.
func TestTheTestsAreThere(t *testing.T) {
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	tests := map[string][]string{}
	for _, s := range compliance.Safeguards() {
		for _, m := range s.Measures {
			if len(m.Tests) == 0 {
				t.Errorf("%s: nothing shows that %q", s.Paragraph, m.Answer)
			}
			for _, test := range m.Tests {
				folder, name, _ := strings.Cut(test, " ")
				if tests[folder] == nil {
					files, _ := filepath.Glob("../../" + folder + "/*_test.go")
					for _, file := range files {
						text, err := os.ReadFile(file)
						if err != nil {
							t.Fatal(err)
						}
						for _, f := range declared.FindAllStringSubmatch(string(text), -1) {
							tests[folder] = append(tests[folder], f[1])
						}
					}
				}
				if !slices.Contains(tests[folder], name) {
					t.Errorf("%s: there is no test %s in %s", s.Paragraph, name, folder)
				}
			}
		}
	}
}

// docs/security.md has the table as it is in the code.
func TestThePageHasTheTable(t *testing.T) {
	const page = "../../docs/security.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "-update writes it -->\n", "<!-- end of safeguards -->"
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+compliance.Markdown()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != compliance.Markdown() {
		t.Error("the table differs from that in pkg/compliance: go test ./pkg/compliance -update writes it")
	}
}
