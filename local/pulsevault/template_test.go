package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"pulsevault/local/emulator"
	"pulsevault/pkg/app"
	"pulsevault/pkg/queue"
)

// samTemplate is template.yaml, to be looked into.
func samTemplate(t *testing.T) *yaml.Node {
	t.Helper()
	data, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	return document.Content[0]
}

// at is what stands under a path of keys; an empty node if nothing does.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		next := &yaml.Node{}
		for name, value := range members(n) {
			if name == key {
				next = value
			}
		}
		n = next
	}
	return n
}

// members are what a mapping holds, in order.
func members(n *yaml.Node) func(func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
			if !yield(n.Content[i].Value, n.Content[i+1]) {
				return
			}
		}
	}
}

// words are the values of a list, or the one value that stands in its place.
func words(n *yaml.Node) (list []string) {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	for _, item := range n.Content {
		list = append(list, item.Value)
	}
	return list
}

// resources are the resources of a type, by name.
func resources(template *yaml.Node, kind string) map[string]*yaml.Node {
	found := map[string]*yaml.Node{}
	for name, r := range members(at(template, "Resources")) {
		if at(r, "Type").Value == kind {
			found[name] = at(r, "Properties")
		}
	}
	return found
}

const samFunction = "AWS::Serverless::Function"

func TestEveryFunctionIsDeployed(t *testing.T) {
	template, err := emulator.ReadTemplate("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var deployed, written []string
	for _, f := range template.Functions {
		deployed = append(deployed, f.Name)
	}
	mains, _ := filepath.Glob("../../functions/*/main.go") // the pattern is good
	for _, main := range mains {
		written = append(written, filepath.Base(filepath.Dir(main)))
	}
	if !slices.Equal(sorted(deployed), sorted(written)) {
		t.Errorf("template.yaml has %v, functions/ has %v", deployed, written)
	}
}

// An image brings its own program, so what the template says of all functions must not reach it; make builds the others.
func TestHowFunctionsAreBuilt(t *testing.T) {
	template := samTemplate(t)
	for name, properties := range resources(template, samFunction) {
		metadata := at(template, "Resources", name, "Metadata")
		if at(properties, "PackageType").Value != "Image" {
			if at(metadata, "BuildMethod").Value != "makefile" {
				t.Errorf("%s: BuildMethod is not makefile", name)
			}
			continue
		}
		ignored := words(at(template, "Resources", name, "IgnoreGlobals"))
		for _, key := range []string{"Runtime", "Handler", "CodeUri"} {
			if !slices.Contains(ignored, key) || at(properties, key).Kind != 0 {
				t.Errorf("%s is an image, which can have no %s", name, key)
			}
		}
		if _, err := os.Stat(filepath.Join("../..", at(metadata, "Dockerfile").Value)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// variables are the environment variables that the template gives any function.
func variables(template *yaml.Node) map[string]bool {
	names := map[string]bool{}
	for name := range members(at(template, "Globals", "Function", "Environment", "Variables")) {
		names[name] = true
	}
	for _, properties := range resources(template, samFunction) {
		for name := range members(at(properties, "Environment", "Variables")) {
			names[name] = true
		}
	}
	return names
}

// A variable that nobody reads is a setting that somebody believes in.
func TestTemplateSetsWhatIsRead(t *testing.T) {
	read := map[string]bool{}
	_, _ = app.ConfigFromEnv(func(name string) string { // which may well refuse these
		read[name] = true
		return map[string]string{"QUEUE": "sqs", "STORAGE": "s3", "REDIS_HOST": "redis"}[name]
	})
	template := samTemplate(t)
	for name := range variables(template) {
		if !read[name] {
			t.Errorf("template.yaml sets %s, which nobody reads", name)
		}
	}
	data, err := os.ReadFile("../sam/env.json")
	if err != nil {
		t.Fatal(err)
	}
	var local struct{ Parameters map[string]string }
	if err := json.Unmarshal(data, &local); err != nil {
		t.Fatal(err)
	}
	for name := range local.Parameters {
		if !variables(template)[name] {
			t.Errorf("local/sam/env.json sets %s, which SAM passes on only if template.yaml names it", name)
		}
	}
}

var subReference = regexp.MustCompile(`\$\{([A-Za-z0-9:]+)(\.[A-Za-z.]+)?\}`)

// references calls name for everything that a template speaks of by its name.
func references(n *yaml.Node, name func(section, name string)) {
	resource, _, _ := strings.Cut(n.Value, ".")
	switch n.Tag {
	case "!Ref":
		name("Resources", n.Value)
	case "!GetAtt":
		name("Resources", resource)
	case "!Sub":
		for _, found := range subReference.FindAllStringSubmatch(n.Value, -1) {
			name("Resources", found[1])
		}
	case "!If":
		name("Conditions", n.Content[0].Value)
	}
	for _, child := range n.Content {
		references(child, name)
	}
}

func TestTemplateSpeaksOfWhatIsThere(t *testing.T) {
	template := samTemplate(t)
	count := 0
	check := func(section, name string) {
		count++
		if !strings.HasPrefix(name, "AWS::") && at(template, section, name).Kind == 0 && (section != "Resources" || at(template, "Parameters", name).Kind == 0) {
			t.Errorf("there is no %s in %s", name, section)
		}
	}
	references(template, check)
	for _, r := range members(at(template, "Resources")) {
		if c := at(r, "Condition").Value; c != "" {
			check("Conditions", c)
		}
	}
	if count < 100 {
		t.Errorf("only %d references were found: the test does not see them", count)
	}
}

// A message must stay hidden for longer than a function may work on it, come again as often as a task is tried and once
// more, and end where somebody looks.
func TestQueuesFitTheirFunctions(t *testing.T) {
	template := samTemplate(t)
	described, err := emulator.ReadTemplate("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	timeouts := map[string]int{}
	for _, f := range described.Functions {
		timeouts[f.Name] = int(f.Timeout.Seconds())
	}
	consumed := 0
	for name, properties := range resources(template, samFunction) {
		for _, event := range members(at(properties, "Events")) {
			if at(event, "Type").Value != "SQS" {
				continue
			}
			consumed++
			id := strings.TrimSuffix(at(event, "Properties", "Queue").Value, ".Arn")
			q := at(template, "Resources", id, "Properties")
			hidden, _ := strconv.Atoi(at(q, "VisibilityTimeout").Value)
			if timeout := timeouts[strings.ToLower(strings.TrimSuffix(name, "Function"))]; hidden < 6*timeout {
				t.Errorf("%s hides messages for %d s, while %s may take %d s: AWS asks for six times that", id, hidden, name, timeout)
			}
			if receives, _ := strconv.Atoi(at(q, "RedrivePolicy", "maxReceiveCount").Value); receives <= queue.MaxTries {
				t.Errorf("%s gives a message up after %d receives; there are %d tries", id, receives, queue.MaxTries)
			}
			dead := strings.TrimSuffix(at(q, "RedrivePolicy", "deadLetterTargetArn").Value, ".Arn")
			if at(template, "Resources", dead, "Properties", "FifoQueue").Value != at(q, "FifoQueue").Value {
				t.Errorf("the dead letters of %s are %s, which must be a queue of the same kind", id, dead)
			}
			if role := strings.TrimSuffix(at(properties, "Role").Value, ".Arn"); !mayTakeFrom(template, role, id) {
				t.Errorf("%s may not take messages from %s", role, id)
			}
			if !alarmed(template, "ApproximateNumberOfMessagesVisible", dead+".QueueName") || !alarmed(template, "ApproximateAgeOfOldestMessage", id+".QueueName") {
				t.Errorf("nobody hears of what is in %s, or stays in %s", dead, id)
			}
		}
	}
	if consumed == 0 {
		t.Error("no queue calls a function")
	}
}

// mayTakeFrom reports whether a role may do with a queue's messages what a function needs.
func mayTakeFrom(template *yaml.Node, role, queue string) bool {
	var may []string
	for _, policy := range at(template, "Resources", role, "Properties", "Policies").Content {
		for _, s := range at(policy, "PolicyDocument", "Statement").Content {
			if slices.Contains(words(at(s, "Resource")), queue+".Arn") {
				may = append(may, words(at(s, "Action"))...)
			}
		}
	}
	for _, action := range []string{"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"} {
		if !slices.Contains(may, action) {
			return false
		}
	}
	return true
}

// Tasks wait where the template says that they are sent to, and a transcode fills a function, whichever queue it is from.
func TestTasksReachTheirFunction(t *testing.T) {
	described, err := emulator.ReadTemplate("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	variables := at(samTemplate(t), "Globals", "Function", "Environment", "Variables")
	want := []emulator.Queue{{Name: at(variables, "SQS_PIECES_QUEUE_URL").Value, BatchSize: 1}, {Name: at(variables, "SQS_QUEUE_URL").Value, BatchSize: 1}}
	for _, f := range described.Functions {
		if f.Name == "transcode" && !slices.Equal(f.Queues, want) {
			t.Errorf("%v call it, tasks are sent to %v", f.Queues, want)
		}
	}
}

// alarmed reports whether there is an alarm about a metric of something.
func alarmed(template *yaml.Node, metric, of string) bool {
	for _, alarm := range resources(template, "AWS::CloudWatch::Alarm") {
		for _, dimension := range at(alarm, "Dimensions").Content {
			if at(alarm, "MetricName").Value == metric && at(dimension, "Value").Value == of {
				return true
			}
		}
	}
	return false
}

func TestErrorsOfEveryFunctionAlarm(t *testing.T) {
	template := samTemplate(t)
	for name := range resources(template, samFunction) {
		if !alarmed(template, "Errors", name) {
			t.Errorf("nobody hears of errors of %s", name)
		}
	}
}

// A function may do what it does, with what it does it with.
func TestRightsAreExact(t *testing.T) {
	template := samTemplate(t)
	statements := 0
	check := func(name string, list *yaml.Node) {
		for _, s := range list.Content {
			statements++
			for _, action := range words(at(s, "Action")) {
				if strings.Contains(action, "*") {
					t.Errorf("%s may %s", name, action)
				}
			}
			for _, resource := range words(at(s, "Resource")) {
				if resource == "*" || resource == "${MediaBucket.Arn}/*" {
					t.Errorf("%s may %v with %s", name, words(at(s, "Action")), resource)
				}
			}
		}
	}
	for name, properties := range resources(template, samFunction) {
		for _, policy := range at(properties, "Policies").Content {
			check(name, at(policy, "Statement"))
		}
	}
	for name, properties := range resources(template, "AWS::IAM::Role") {
		for _, policy := range at(properties, "Policies").Content {
			check(name, at(policy, "PolicyDocument", "Statement"))
		}
	}
	if statements < 10 {
		t.Errorf("only %d statements were found: the test does not see them", statements)
	}
}
