package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// entry is a line on its way to Loki.
type entry struct {
	labels, metadata map[string]string
	extracted        map[string]any
	at               time.Time
	line             string
}

// read is a line as loki.source.file hands it on.
func read(filename, line string) *entry {
	return &entry{map[string]string{"filename": filename}, map[string]string{}, map[string]any{"filename": filename}, time.Now(), line}
}

// stage is one of those that the file has: the same words, and what Alloy does with them (internal/component/loki/process/stages
// of its repository).
type stage struct {
	JSON         *jsonStage     `alloy:"json,block,optional"`
	Regex        *regexStage    `alloy:"regex,block,optional"`
	Template     *templateStage `alloy:"template,block,optional"`
	Match        *matchStage    `alloy:"match,block,optional"`
	Drop         *dropStage     `alloy:"drop,block,optional"`
	Timestamp    *timeStage     `alloy:"timestamp,block,optional"`
	Output       *outputStage   `alloy:"output,block,optional"`
	Labels       *namesStage    `alloy:"labels,block,optional"`
	Metadata     *namesStage    `alloy:"structured_metadata,block,optional"`
	StaticLabels *namesStage    `alloy:"static_labels,block,optional"`
	LabelDrop    *listStage     `alloy:"label_drop,block,optional"`
}

type jsonStage struct {
	Expressions map[string]string `alloy:"expressions,attr"`
}

type regexStage struct {
	Source     string `alloy:"source,attr,optional"`
	Expression string `alloy:"expression,attr"`
}

type templateStage struct {
	Source   string `alloy:"source,attr"`
	Template string `alloy:"template,attr"`
}

type matchStage struct {
	Selector string  `alloy:"selector,attr"`
	Action   string  `alloy:"action,attr,optional"`
	Reason   string  `alloy:"drop_counter_reason,attr,optional"`
	Stages   []stage `alloy:"stage,enum,optional"`
}

type dropStage struct {
	OlderThan string `alloy:"older_than,attr"`
	Reason    string `alloy:"drop_counter_reason,attr,optional"`
}

type timeStage struct {
	Source string `alloy:"source,attr"`
	Format string `alloy:"format,attr"`
}

type outputStage struct {
	Source string `alloy:"source,attr"`
}

type namesStage struct {
	Values map[string]string `alloy:"values,attr"`
}

type listStage struct {
	Values []string `alloy:"values,attr"`
}

// pass takes a line through stages, and reports whether it comes out.
func pass(stages []stage, e *entry) (kept bool, err error) {
	for _, s := range stages {
		kept = true
		switch {
		case s.JSON != nil:
			s.JSON.run(e)
		case s.Regex != nil:
			err = s.Regex.run(e)
		case s.Template != nil:
			err = s.Template.run(e)
		case s.Match != nil:
			kept, err = s.Match.run(e)
		case s.Drop != nil:
			kept, err = s.Drop.run(e)
		case s.Timestamp != nil:
			err = s.Timestamp.run(e)
		case s.Output != nil:
			if line, ok := e.value(s.Output.Source); ok {
				e.line = line
			}
		case s.Labels != nil:
			s.Labels.take(e, e.labels)
		case s.Metadata != nil:
			s.Metadata.take(e, e.metadata)
		case s.StaticLabels != nil:
			maps.Copy(e.labels, s.StaticLabels.Values)
		case s.LabelDrop != nil:
			maps.DeleteFunc(e.labels, func(name, _ string) bool { return slices.Contains(s.LabelDrop.Values, name) })
		}
		if err != nil || !kept {
			return false, err
		}
	}
	return true, nil
}

// value is what was extracted under a name, as text. What is null is nothing.
func (e *entry) value(name string) (string, bool) {
	switch v := e.extracted[name].(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// run extracts members, of which the file names those in others by dots only. What is not there is extracted as null.
func (s *jsonStage) run(e *entry) {
	var data map[string]any
	if json.Unmarshal([]byte(e.line), &data) != nil {
		return
	}
	for name, path := range s.Expressions {
		var found any = data
		for part := range strings.SplitSeq(path, ".") {
			members, _ := found.(map[string]any)
			found = members[part]
		}
		e.extracted[name] = found
	}
}

func (s *regexStage) run(e *entry) error {
	re, err := regexp.Compile(s.Expression)
	if err != nil {
		return err
	}
	from := e.line
	if s.Source != "" {
		var ok bool
		if from, ok = e.value(s.Source); !ok {
			return nil
		}
	}
	found := re.FindStringSubmatch(from)
	for i, name := range re.SubexpNames() {
		if found != nil && name != "" {
			e.extracted[name] = found[i]
		}
	}
	return nil
}

// run renders with the functions of Alloy that the file uses. What comes out empty is not extracted any more.
func (s *templateStage) run(e *entry) error {
	t, err := template.New(s.Source).Funcs(template.FuncMap{
		"ToLower": strings.ToLower, "TrimSuffix": strings.TrimSuffix,
		"int": func(v any) int { n, _ := strconv.Atoi(fmt.Sprint(v)); return n },
	}).Parse(s.Template)
	if err != nil {
		return err
	}
	values := map[string]any{"Entry": e.line}
	for name := range e.extracted {
		if v, ok := e.value(name); ok {
			values[name] = v
		}
	}
	values["Value"] = values[s.Source]
	var out bytes.Buffer
	if err := t.Execute(&out, values); err != nil {
		return err
	}
	delete(e.extracted, s.Source)
	if out.Len() > 0 {
		e.extracted[s.Source] = out.String()
	}
	return nil
}

// A selector is of matchers on labels, and perhaps a filter of lines.
var (
	aSelector = regexp.MustCompile(`^\{(.*?)\}(?: \|~ ("(?:[^"\\]|\\.)*"))?$`)
	aMatcher  = regexp.MustCompile(`^(\w+)(=~|!~|!=|=)("(?:[^"\\]|\\.)*")(?:, ?|$)`)
)

func (s *matchStage) run(e *entry) (kept bool, err error) {
	meant, err := selects(s.Selector, e)
	if err != nil || !meant {
		return true, err
	}
	if s.Action == "drop" {
		return false, nil
	}
	return pass(s.Stages, e)
}

func selects(selector string, e *entry) (bool, error) {
	parts := aSelector.FindStringSubmatch(selector)
	if parts == nil {
		return false, fmt.Errorf("the selector %s cannot be read here", selector)
	}
	all := true
	for rest := parts[1]; rest != ""; {
		m := aMatcher.FindStringSubmatch(rest)
		if m == nil {
			return false, fmt.Errorf("the selector %s cannot be read here", selector)
		}
		rest = rest[len(m[0]):]
		want, err := strconv.Unquote(m[3])
		if err != nil {
			return false, err
		}
		holds := e.labels[m[1]] == want
		if strings.HasSuffix(m[2], "~") {
			if holds, err = regexp.MatchString("^(?:"+want+")$", e.labels[m[1]]); err != nil {
				return false, err
			}
		}
		all = all && holds != strings.HasPrefix(m[2], "!")
	}
	if parts[2] == "" || !all {
		return all, nil
	}
	filter, err := strconv.Unquote(parts[2])
	if err != nil {
		return false, err
	}
	return regexp.MatchString(filter, e.line)
}

func (s *dropStage) run(e *entry) (kept bool, err error) {
	age, err := time.ParseDuration(s.OlderThan)
	return time.Since(e.at) <= age, err
}

func (s *timeStage) run(e *entry) error {
	if s.Format != "RFC3339Nano" {
		return fmt.Errorf("times as %s cannot be read here", s.Format)
	}
	if text, ok := e.value(s.Source); ok {
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
			e.at = at
		}
	}
	return nil
}

// take copies what was extracted to where it goes.
func (s *namesStage) take(e *entry, to map[string]string) {
	for name, source := range s.Values {
		if source == "" {
			source = name
		}
		if v, ok := e.value(source); ok {
			to[name] = v
		}
	}
}
