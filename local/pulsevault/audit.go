package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
)

type keyCommand struct{}

// Run prints the public key, and makes the pair if there is none.
func (keyCommand) Run() error {
	c, _, err := configure()
	if err != nil {
		return err
	}
	key, err := app.AuditKey(c)
	if err == nil {
		_, err = fmt.Println(key)
	}
	return err
}

type verifyCommand struct {
	Key []string `help:"Public key that checkpoints must be signed by, as 'pulsevault audit key' prints it; several after the key was changed." placeholder:"PUBLIC"`
	Dir string   `help:"A copy of the folder AUDIT_DIR. No setting is read then, and no Redis asked." placeholder:"FOLDER"`
}

// Run verifies the audit log and prints what it found.
func (v verifyCommand) Run(ctx context.Context) error {
	var progress audit.Progress
	stop := showProgress(&progress)
	report, err := v.verify(ctx, &progress)
	stop()
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

func (v verifyCommand) verify(ctx context.Context, progress *audit.Progress) (audit.Report, error) {
	if v.Dir != "" {
		return app.InspectAudit(ctx, v.Dir, v.Key, progress)
	}
	c, log, err := configure()
	if err != nil {
		return audit.Report{}, err
	}
	return app.VerifyAudit(ctx, c, log, v.Key, progress)
}

// showProgress draws a bar while something takes longer than a moment, on a terminal only. stop removes it.
func showProgress(p *audit.Progress) (stop func()) {
	info, err := os.Stderr.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				read, total := p.Bytes()
				const width = 40
				full := int(width * read / max(total, 1))
				fmt.Fprintf(os.Stderr, "\r[%-*s] %3d%% of %d MiB", width, "########################################"[:min(full, width)], 100*read/max(total, 1), total>>20)
			case <-done:
				fmt.Fprint(os.Stderr, "\r\x1b[K")
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
