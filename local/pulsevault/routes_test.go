package main_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pulsevault/local/emulator"
	"pulsevault/pkg/app"
)

// The routes that are served, those that are deployed, and those that people read about are the same.
func TestRoutesDoNotDrift(t *testing.T) {
	template, err := emulator.ReadTemplate("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	deployed := map[string]string{}
	for _, f := range template.Functions {
		for _, r := range f.Routes {
			if r.Method != "ANY" {
				t.Errorf("template.yaml: %s %s: the function itself refuses methods, so that all hosts do it alike", r.Method, r.Path)
			}
			deployed[r.Path] = f.Name
		}
	}
	readme := readmeRoutes(t)
	for _, r := range app.Routes() {
		if r.Function == app.Internal {
			continue // for a proxy before a server: no function has it, and people have no use for it
		}
		if deployed[r.Path] != r.Function {
			t.Errorf("template.yaml: %s leads to %q, want %q", r.Path, deployed[r.Path], r.Function)
		}
		delete(deployed, r.Path)
		path := strings.ReplaceAll(r.Path, "+}", "}")
		if got := slices.DeleteFunc(readme[path], func(m string) bool { return m == "HEAD" && slices.Contains(r.Methods, "GET") }); !slices.Equal(got, sorted(r.Methods)) {
			t.Errorf("README: %s answers to %v, want %v", path, got, r.Methods)
		}
		delete(readme, path)
	}
	delete(deployed, "/{proxy+}") // what nobody answers to
	delete(readme, "/metrics")    // of a process, not of a function
	delete(readme, "/metrics/redis")
	if len(deployed) > 0 || len(readme) > 0 {
		t.Errorf("nobody answers to %v of template.yaml, %v of the README", deployed, readme)
	}
}

// readmeRoutes are the methods by path of the README's table.
func readmeRoutes(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[A-Z]+ .*?`) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, cell := range regexp.MustCompile("`([A-Z ]+) (/[^?`]*)").FindAllStringSubmatch(row[1], -1) {
			routes[cell[2]] = sorted(append(routes[cell[2]], strings.Fields(cell[1])...))
		}
	}
	return routes
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
