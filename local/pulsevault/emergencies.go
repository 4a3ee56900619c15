package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
)

type emergenciesCommand struct {
	From string `help:"The first day, of UTC, such as 2026-01-31; the first of the log by default."`
	To   string `help:"The last day, likewise."`
	Uses bool   `help:"List each use of the links as well."`
	JSON bool   `name:"json" help:"Print the list as JSON, with each use."`
}

// Run lists what was given in an emergency, also where some lines of the log cannot be read.
func (l emergenciesCommand) Run(ctx context.Context) error {
	for flag, day := range map[string]string{"--from": l.From, "--to": l.To} {
		if day == "" {
			continue
		}
		if err := audit.ParseDay(day); err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
	}
	c, _, err := configure()
	if err != nil {
		return err
	}
	links, unread := app.Emergencies(ctx, c, audit.Days{From: l.From, To: l.To})
	if l.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false)
		err = out.Encode(map[string]any{"emergencies": append([]app.EmergencyLink{}, links...)})
	} else {
		err = writeEmergencies(os.Stdout, links, l.Uses)
	}
	return cmp.Or(err, unread)
}

// writeEmergencies prints a table of the links, and one of the uses of each if they are wanted.
func writeEmergencies(w io.Writer, links []app.EmergencyLink, uses bool) error {
	if len(links) == 0 {
		_, err := fmt.Fprintln(w, "No link was given in an emergency.")
		return err
	}
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "GIVEN (UTC)\tTO\tKEY\tFROM\tVIDEO\tPATH\tHAD RIGHT\tUSES\tLAST USE\tREASON\n")
	for _, l := range links {
		last := ""
		if n := len(l.Uses); n > 0 {
			last = l.Uses[n-1].Time.UTC().Format(time.TimeOnly)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.Time.UTC().Format(time.DateTime), printable(l.UserID, 30), printable(l.KeyID, 12),
			printable(l.Address, 40), printable(l.VideoID, 36), printable(l.Path, 30), yesNo(l.HadRight), len(l.Uses), last, printable(l.Reason, 500))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, l := range links {
		if !uses || len(l.Uses) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\nUses of the link of %s to %s:\n", l.Time.UTC().Format(time.DateTime), printable(l.UserID, 30))
		fmt.Fprintf(table, "USED (UTC)\tFROM\tMETHOD\tPATH\tRANGE\n")
		for _, u := range l.Uses {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", u.Time.UTC().Format(time.DateTime), printable(u.Address, 40), printable(u.Method, 8),
				printable(u.Path, 60), printable(u.Range, 30))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
