package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Measurement is one of those that a benchmark has; B is what it is handed.
type Measurement[B any] struct {
	Name string
	Run  func(context.Context, B) ([]Row, error)
}

// Measurements run in their order; each tells its rows.
type Measurements[B any] []Measurement[B]

// Names are all names, with commas between them.
func (all Measurements[B]) Names() string {
	var names []string
	for _, m := range all {
		names = append(names, m.Name)
	}
	return strings.Join(names, ",")
}

// Check refuses a list of names, with commas between them, in which one is of no measurement.
func (all Measurements[B]) Check(only string) error {
	for name := range strings.SplitSeq(only, ",") {
		if name != "" && !listed(all.Names(), name) {
			return fmt.Errorf("-only %s: there is no such measurement; there are %s", name, all.Names())
		}
	}
	return nil
}

// Run makes those that are listed, or all if none is, and prints their rows, also when one fails.
func (all Measurements[B]) Run(ctx context.Context, b B, only string) error {
	var rows []Row
	for _, m := range all {
		if only != "" && !listed(only, m.Name) {
			continue
		}
		more, err := m.Run(ctx, b)
		rows = append(rows, more...)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", m.Name, err), PrintRows(os.Stdout, rows))
		}
	}
	return PrintRows(os.Stdout, rows)
}

func listed(names, name string) bool { return strings.Contains(","+names+",", ","+name+",") }
