// Package monitoring_test holds what shows how PulseVault goes against a PulseVault that works: every panel of Grafana against a
// real Prometheus and a real Loki, and the file of Alloy against the lines that are really logged.
package monitoring_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/vm"
	"go.yaml.in/yaml/v3"
)

const alloyFile = "../../alloy/config.alloy"

// collector is what Alloy's file says. The fields are Alloy's own, so a word that it does not know is an error here too.
type collector struct {
	Logging struct {
		Level string `alloy:"level,attr,optional"`
	} `alloy:"logging,block,optional"`
	Files     []fileMatch  `alloy:"local.file_match,block,optional"`
	Sources   []fileSource `alloy:"loki.source.file,block,optional"`
	Processes []process    `alloy:"loki.process,block,optional"`
	Writes    []lokiWrite  `alloy:"loki.write,block,optional"`
}

type fileMatch struct {
	Name        string              `alloy:",label"`
	PathTargets []map[string]string `alloy:"path_targets,attr"`
	SyncPeriod  string              `alloy:"sync_period,attr,optional"`
}

type fileSource struct {
	Name      string   `alloy:",label"`
	Targets   []string `alloy:"targets,attr"`
	ForwardTo []string `alloy:"forward_to,attr"`
}

type process struct {
	Name      string   `alloy:",label"`
	ForwardTo []string `alloy:"forward_to,attr"`
	Stages    []stage  `alloy:"stage,enum,optional"`
}

type lokiWrite struct {
	Name     string `alloy:",label"`
	Endpoint struct {
		URL               string `alloy:"url,attr"`
		MaxBackoffRetries int    `alloy:"max_backoff_retries,attr,optional"`
		MaxBackoffPeriod  string `alloy:"max_backoff_period,attr,optional"`
	} `alloy:"endpoint,block"`
}

// exports is what others may take from a component, by the component's name. Here each is the name of what it comes from.
var exports = map[string]string{"local.file_match": "targets", "loki.process": "receiver", "loki.write": "receiver"}

// readAlloy reads Alloy's file as Alloy does: all that it takes from a component must be there. env answers for the environment.
func readAlloy(text string, env func(string) string) (collector, error) {
	file, err := parser.ParseFile("config.alloy", []byte(text))
	if err != nil {
		return collector{}, err
	}
	components := map[string]any{}
	for _, statement := range file.Body {
		block, ok := statement.(*ast.BlockStmt)
		if !ok {
			return collector{}, fmt.Errorf("%T is no component", statement)
		}
		name := strings.Join(block.Name, ".")
		if export := exports[name]; export != "" {
			declare(components, append(slices.Clone(block.Name), block.Label), export)
		}
	}
	components["sys"] = map[string]any{"env": env}
	var c collector
	err = vm.New(file).Evaluate(&vm.Scope{Variables: components}, &c)
	return c, err
}

// declare has a component export its own name: as the one target, or as the receiver.
func declare(in map[string]any, name []string, export string) {
	for _, part := range name {
		if in[part] == nil {
			in[part] = map[string]any{}
		}
		in = in[part].(map[string]any)
	}
	in[export] = strings.Join(name, ".")
	if export == "targets" {
		in[export] = []string{strings.Join(name, ".")}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(readText(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func readCollector(t *testing.T, env map[string]string) collector {
	t.Helper()
	c, err := readAlloy(readText(t, alloyFile), func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// way is what the lines of the files of a name pass through, up to where they are sent.
func (c collector) way(files string) (stages []stage, url string, err error) {
	var next []string
	for _, s := range c.Sources {
		if slices.Contains(s.Targets, "local.file_match."+files) {
			next = append(next, s.ForwardTo...)
		}
	}
	for range len(c.Processes) + 1 {
		if len(next) != 1 {
			return nil, "", fmt.Errorf("from the files %q there are the ways %q", files, next)
		}
		for _, w := range c.Writes {
			if next[0] == "loki.write."+w.Name {
				return stages, w.Endpoint.URL, nil
			}
		}
		i := slices.IndexFunc(c.Processes, func(p process) bool { return next[0] == "loki.process."+p.Name })
		if i < 0 {
			return nil, "", fmt.Errorf("%q takes no lines", next[0])
		}
		stages, next = append(stages, c.Processes[i].Stages...), c.Processes[i].ForwardTo
	}
	return nil, "", errors.New("the lines go round in a circle")
}

// Both kinds of files are read where they are, and their lines come to Loki, which waits for no lines to be given up.
func TestAlloyLeadsToLoki(t *testing.T) {
	c := readCollector(t, map[string]string{"AUDIT_DIR": "/elsewhere/audit"})
	for name, path := range map[string]string{"containers": "/var/lib/docker/containers/*/*-json.log", "audit": "/elsewhere/audit/*.log"} {
		_, url, err := c.way(name)
		if err != nil || url != "http://loki:3100/loki/api/v1/push" {
			t.Errorf("the files %q lead to %q, %v", name, url, err)
		}
		i := slices.IndexFunc(c.Files, func(f fileMatch) bool { return f.Name == name })
		if i < 0 || len(c.Files[i].PathTargets) != 1 || c.Files[i].PathTargets[0]["__path__"] != path || len(c.Files[i].PathTargets[0]) != 1 {
			t.Errorf("%q are not the files %s: %+v", name, path, c.Files)
		}
	}
	if c.Writes[0].Endpoint.MaxBackoffRetries != 0 {
		t.Errorf("lines are given up: %+v", c.Writes)
	}
	if len(c.Sources) != 2 || len(c.Processes) != 2 || len(c.Writes) != 1 {
		t.Errorf("there is more than the two ways: %+v", c)
	}
}

// A file that takes something from what is not there, or says a word that Alloy does not know, is not accepted.
func TestAlloyRefusesWhatIsNotThere(t *testing.T) {
	good := readText(t, alloyFile)
	for from, to := range map[string]string{
		"[loki.write.loki.receiver]":           "[loki.write.elsewhere.receiver]",
		"local.file_match.audit.targets":       "local.file_match.audit.receiver",
		"stage.label_drop {":                   "stage.label_remove {",
		"older_than ":                          "older ",
		"loki.source.file \"audit\" {":         "loki.source.files \"audit\" {",
		"sync_period  = \"10s\"":               "sync_period  = 10s",
		"coalesce(sys.env(\"AUDIT_DIR\"), \"/": "coalesce(sys.environment(\"AUDIT_DIR\"), \"/",
	} {
		bad := strings.Replace(good, from, to, 1)
		if bad == good {
			t.Errorf("%q is not in the file", from)
		}
		if _, err := readAlloy(bad, os.Getenv); err == nil {
			t.Errorf("%q is accepted", to)
		}
	}
}

// What the file takes from the environment is given to the container, and explained where it is a setting.
func TestAlloyEnvironmentIsGiven(t *testing.T) {
	asked := map[string]bool{}
	if _, err := readAlloy(readText(t, alloyFile), func(name string) string { asked[name] = true; return "" }); err != nil {
		t.Fatal(err)
	}
	var stack struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []any // those of other services have the long form
		}
	}
	readYAML(t, "../../docker-compose.yml", &stack)
	given := stack.Services["alloy"].Environment
	if !maps.EqualFunc(asked, given, func(bool, string) bool { return true }) {
		t.Errorf("the file asks for %v, and the container is given %v", asked, given)
	}
	settings := readText(t, "../../.env.example") + readText(t, "../../local/setup.sh")
	for name, value := range given {
		if !strings.HasPrefix(value, "${"+name) || !regexp.MustCompile(`\b`+name+`\b`).MatchString(settings) {
			t.Errorf("%s is %q, and no setting of that name is told of", name, value)
		}
	}
	for _, needs := range []string{"/var/lib/docker/containers:ro", "/media:ro", "/etc/alloy:ro"} {
		if !slices.ContainsFunc(stack.Services["alloy"].Volumes, func(v any) bool { return strings.HasSuffix(fmt.Sprint(v), ":"+needs) }) {
			t.Errorf("%s is not mounted: %q", needs, stack.Services["alloy"].Volumes)
		}
	}
}
