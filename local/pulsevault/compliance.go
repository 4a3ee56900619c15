package main

import (
	"fmt"
	"os"

	"pulsevault/pkg/compliance"
)

type complianceCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints how the configuration answers the safeguards of 45 CFR 164.312.
func (c complianceCommand) Run() error {
	if _, _, err := configure(); err != nil {
		return err
	}
	report := compliance.Check(os.Getenv)
	if err := c.print(report); err != nil {
		return err
	}
	if report.Off > 0 {
		return fmt.Errorf("%d measures are off as configured", report.Off)
	}
	return nil
}

func (c complianceCommand) print(report compliance.Report) error {
	if !c.JSON {
		_, err := report.WriteTo(os.Stdout)
		return err
	}
	data, err := report.JSON()
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(data))
	return err
}
