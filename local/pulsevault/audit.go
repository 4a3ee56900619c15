package main

import (
	"context"
	"errors"
	"os"

	"pulsevault/pkg/app"
)

type verifyCommand struct{}

// Run verifies the audit log and prints what it found.
func (verifyCommand) Run(ctx context.Context) error {
	c, log, err := configure()
	if err != nil {
		return err
	}
	report, err := app.VerifyAudit(ctx, c, log)
	if err != nil {
		return err
	}
	if _, err := report.WriteTo(os.Stdout); err != nil {
		return err
	}
	if !report.OK() {
		return errors.New("the audit log is not what was written")
	}
	return nil
}
