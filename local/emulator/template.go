package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Template is what the emulator takes from an AWS SAM template: which functions there are, how they are bounded, and
// what calls them.
type Template struct {
	Functions []Function
	Stage     string // of the API
}

// Function is one AWS::Serverless::Function.
type Function struct {
	Name        string // of its folder under functions/: the logical id without "Function", in lower case
	Timeout     time.Duration
	MemorySize  int64 // bytes
	Environment map[string]string
	Routes      []Route
	Concurrency int           // processes at a time at most; 0 if the template does not say
	Queues      []Queue       // that call it, in the order of their names
	Every       time.Duration // between scheduled calls; 0 if there are none
}

// Queue is an SQS queue that calls a function.
type Queue struct {
	Name      string // logical id
	BatchSize int    // messages of one event at most
}

// Route is what an API calls a function for: a method, or ANY, and a path with {parameters} and at most one {greedy+}.
type Route struct{ Method, Path string }

// What a template that does not say means (AWS SAM, resource AWS::Serverless::Function).
const (
	defaultTimeout   = 3 * time.Second
	defaultMemory    = 128 << 20
	defaultBatchSize = 10
)

type samTemplate struct {
	Parameters map[string]struct {
		Default string `yaml:"Default"`
	} `yaml:"Parameters"`
	Globals struct {
		Function samFunction `yaml:"Function"`
	} `yaml:"Globals"`
	Resources map[string]struct {
		Type       string    `yaml:"Type"`
		Properties yaml.Node `yaml:"Properties"`
	} `yaml:"Resources"`
}

type samFunction struct {
	Timeout     int `yaml:"Timeout"`    // seconds
	MemorySize  int `yaml:"MemorySize"` // MiB
	Reserved    int `yaml:"ReservedConcurrentExecutions"`
	Environment struct {
		Variables map[string]yaml.Node `yaml:"Variables"`
	} `yaml:"Environment"`
	Events map[string]struct {
		Type       string `yaml:"Type"`
		Properties struct {
			Path      string    `yaml:"Path"`
			Method    string    `yaml:"Method"`
			Queue     yaml.Node `yaml:"Queue"`
			BatchSize int       `yaml:"BatchSize"`
			Schedule  string    `yaml:"Schedule"`
		} `yaml:"Properties"`
	} `yaml:"Events"`
}

// ReadTemplate reads a SAM template. Values that only AWS can know, such as the address of a queue, are left out of the
// functions' environment.
func ReadTemplate(path string) (Template, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Template{}, fmt.Errorf("read SAM template: %w", err)
	}
	t, err := parseTemplate(data)
	if err != nil {
		return Template{}, fmt.Errorf("read SAM template %s: %w", path, err)
	}
	return t, nil
}

func parseTemplate(data []byte) (Template, error) {
	var sam samTemplate
	if err := yaml.Unmarshal(data, &sam); err != nil {
		return Template{}, err
	}
	var t Template
	for id, r := range sam.Resources {
		switch r.Type {
		case "AWS::Serverless::Function":
			var f samFunction
			if err := r.Properties.Decode(&f); err != nil {
				return Template{}, fmt.Errorf("%s: %w", id, err)
			}
			function, err := sam.function(id, f)
			if err != nil {
				return Template{}, fmt.Errorf("%s: %w", id, err)
			}
			t.Functions = append(t.Functions, function)
		case "AWS::Serverless::Api":
			var api struct {
				StageName yaml.Node `yaml:"StageName"`
			}
			if err := r.Properties.Decode(&api); err != nil {
				return Template{}, fmt.Errorf("%s: %w", id, err)
			}
			t.Stage, _ = sam.value(api.StageName)
		}
	}
	if len(t.Functions) == 0 {
		return Template{}, errors.New("there is no AWS::Serverless::Function in it")
	}
	slices.SortFunc(t.Functions, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return t, nil
}

// function is a function's own properties, or else those that the template gives all functions, or else AWS's.
func (sam samTemplate) function(id string, own samFunction) (Function, error) {
	all := sam.Globals.Function
	f := Function{
		Name:        strings.ToLower(strings.TrimSuffix(id, "Function")),
		Timeout:     cmp.Or(time.Duration(cmp.Or(own.Timeout, all.Timeout))*time.Second, defaultTimeout),
		MemorySize:  cmp.Or(int64(cmp.Or(own.MemorySize, all.MemorySize))<<20, defaultMemory),
		Concurrency: own.Reserved,
		Environment: map[string]string{},
	}
	for _, variables := range []map[string]yaml.Node{all.Environment.Variables, own.Environment.Variables} {
		for name, node := range variables {
			if value, ok := sam.value(node); ok {
				f.Environment[name] = value
			}
		}
	}
	for name, e := range own.Events {
		switch e.Type {
		case "Api":
			f.Routes = append(f.Routes, Route{strings.ToUpper(e.Properties.Method), e.Properties.Path})
		case "SQS":
			name := strings.TrimSuffix(e.Properties.Queue.Value, ".Arn") // !GetAtt Queue.Arn
			f.Queues = append(f.Queues, Queue{name, cmp.Or(e.Properties.BatchSize, defaultBatchSize)})
		case "Schedule":
			var err error
			if f.Every, err = parseRate(e.Properties.Schedule); err != nil {
				return f, fmt.Errorf("event %s: %w", name, err)
			}
		}
	}
	slices.SortFunc(f.Queues, func(a, b Queue) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Routes, func(a, b Route) int { return strings.Compare(a.Path+" "+a.Method, b.Path+" "+b.Method) })
	return f, nil
}

// value is what a node says, where that can be known here: it is plain, or refers to a parameter that has a default.
func (sam samTemplate) value(node yaml.Node) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		return "", false
	}
	if node.Tag == "!Ref" {
		p, ok := sam.Parameters[node.Value]
		return p.Default, ok && p.Default != ""
	}
	return node.Value, strings.HasPrefix(node.Tag, "!!")
}

// parseRate reads a rate expression, such as "rate(5 minutes)".
func parseRate(s string) (time.Duration, error) {
	var n int
	var unit string
	if _, err := fmt.Sscanf(s, "rate(%d %s", &n, &unit); err != nil || n < 1 {
		return 0, fmt.Errorf("schedule %q is no rate(NUMBER UNIT)", s)
	}
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	d, ok := units[strings.TrimSuffix(strings.TrimSuffix(unit, ")"), "s")]
	if !ok {
		return 0, fmt.Errorf("schedule %q has an unknown unit", s)
	}
	return time.Duration(n) * d, nil
}
