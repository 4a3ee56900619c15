package emulator

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// router finds the function that an API calls for a request, as API Gateway does: a literal segment goes before a
// {parameter}, and that before a {greedy+} one; a method goes before ANY.
type router struct{ root node }

type node struct {
	literal   map[string]*node
	parameter *node
	greedy    *node
	name      string            // of the parameter that leads here
	resource  string            // the path of the route, as the template has it
	methods   map[string]string // function by method
}

// match is where a request goes.
type match struct {
	function   string
	resource   string
	parameters map[string]string
}

func newRouter(functions []Function) (*router, error) {
	r := &router{}
	for _, f := range functions {
		for _, route := range f.Routes {
			if err := r.add(route, f.Name); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

func (r *router) add(route Route, function string) error {
	n := &r.root
	for _, segment := range segments(route.Path) {
		n = n.child(segment)
	}
	n.resource = route.Path
	if other, taken := n.methods[route.Method]; taken {
		return fmt.Errorf("%s %s calls both %s and %s", route.Method, route.Path, other, function)
	}
	if n.methods == nil {
		n.methods = map[string]string{}
	}
	n.methods[route.Method] = function
	return nil
}

func (n *node) child(segment string) *node {
	name, isParameter := strings.CutPrefix(segment, "{")
	if !isParameter {
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		if n.literal[segment] == nil {
			n.literal[segment] = &node{}
		}
		return n.literal[segment]
	}
	name = strings.TrimSuffix(name, "}")
	to := &n.parameter
	if greedy, ok := strings.CutSuffix(name, "+"); ok {
		name, to = greedy, &n.greedy
	}
	if *to == nil {
		*to = &node{name: name}
	}
	return *to
}

// find returns where a request goes by its path as it was sent; ok is false if nothing answers to it.
func (r *router) find(method, path string) (match, bool) {
	m := match{parameters: map[string]string{}}
	n := r.root.find(segments(path), method, m.parameters)
	if n == nil {
		return match{}, false
	}
	m.function, m.resource = n.function(method), n.resource
	return m, true
}

func (n *node) find(rest []string, method string, parameters map[string]string) *node {
	if len(rest) == 0 {
		if n.function(method) == "" {
			return nil
		}
		return n
	}
	if next := n.literal[rest[0]]; next != nil {
		if found := next.find(rest[1:], method, parameters); found != nil {
			return found
		}
	}
	if n.parameter != nil {
		if found := n.parameter.find(rest[1:], method, parameters); found != nil {
			parameters[n.parameter.name] = decoded(rest[0])
			return found
		}
	}
	if n.greedy != nil && n.greedy.function(method) != "" {
		parameters[n.greedy.name] = decoded(strings.Join(rest, "/"))
		return n.greedy
	}
	return nil
}

func decoded(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

func (n *node) function(method string) string {
	if f := n.methods[method]; f != "" {
		return f
	}
	return n.methods["ANY"]
}

// segments splits a path. A slash at its end says nothing.
func segments(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" })
}
