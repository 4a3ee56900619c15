package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"unicode"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
)

type reportCommand struct {
	Video  string `help:"Only what concerns this video or upload." placeholder:"ID"`
	User   string `help:"Only what this caller did." placeholder:"NAME"`
	From   string `help:"First day, of UTC." placeholder:"2026-01-31"`
	To     string `help:"Last day, of UTC." placeholder:"2026-01-31"`
	Format string `help:"table, csv or json (one object to a line)." enum:"table,csv,json" default:"table"`
	Dir    string `help:"A copy of the folder AUDIT_DIR. No setting is read then." placeholder:"FOLDER"`
}

// Run prints the entries that are asked for, all chains merged by time, as it reads them.
func (r reportCommand) Run(ctx context.Context) error {
	for _, day := range []string{r.From, r.To} {
		if day != "" {
			if err := audit.ParseDay(day); err != nil {
				return err
			}
		}
	}
	if r.Video == "" && r.User == "" && r.From == "" && r.To == "" {
		return errors.New("say what to report: --video, --user, --from or --to")
	}
	entries, release, err := r.entries(ctx)
	if err != nil {
		return err
	}
	defer release()
	out := bufio.NewWriter(os.Stdout)
	unread, err := r.print(out, entries)
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	if unread > 0 {
		return fmt.Errorf("%d lines or files could not be read: see pulsevault audit verify", unread)
	}
	return nil
}

func (r reportCommand) entries(ctx context.Context) (iter.Seq2[audit.Entry, error], func(), error) {
	days := audit.Days{From: r.From, To: r.To}
	if r.Dir != "" {
		return audit.Entries(ctx, r.Dir, days), func() {}, nil
	}
	c, _, err := configure()
	if err != nil {
		return nil, nil, err
	}
	return app.AuditEntries(ctx, c, days)
}

// print writes what is wanted, and says on standard error what cannot be read.
func (r reportCommand) print(out io.Writer, entries iter.Seq2[audit.Entry, error]) (unread int, err error) {
	row, flush := rows(out, r.Format)
	for e, err := range entries {
		var event audit.Event
		if err == nil {
			event, err = e.Decode()
		}
		if errors.Is(err, context.Canceled) {
			return unread, err
		}
		if err != nil {
			unread++
			fmt.Fprintln(os.Stderr, "pulsevault:", err)
			continue
		}
		if r.wants(event) {
			if err := row(e, event); err != nil {
				return unread, err
			}
		}
	}
	return unread, flush()
}

func (r reportCommand) wants(e audit.Event) bool {
	return (r.Video == "" || r.Video == e.VideoID || r.Video == e.UploadID) && (r.User == "" || r.User == e.UserID)
}

var columns = []string{"time", "category", "action", "user", "ip", "video", "upload", "path", "request", "details"}

func values(e audit.Entry, event audit.Event) []string {
	details := ""
	if len(event.Details) > 0 {
		data, _ := json.Marshal(event.Details) // they came out of JSON
		details = string(data)
	}
	return []string{e.At(), string(e.Category), event.Action, event.UserID, event.Address, event.VideoID, event.UploadID, event.Path, event.RequestID, details}
}

// rows returns what writes an entry in a format, and what ends the report.
func rows(out io.Writer, format string) (row func(audit.Entry, audit.Event) error, flush func() error) {
	switch format {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return func(e audit.Entry, _ audit.Event) error {
			return enc.Encode(map[string]any{"time": e.At(), "category": e.Category, "seq": e.Seq, "eventId": e.EventID, "event": e.Event})
		}, func() error { return nil }
	case "csv":
		w := csv.NewWriter(out)
		_ = w.Write(columns) // what goes wrong Flush tells
		return func(e audit.Entry, event audit.Event) error {
				cells := values(e, event)
				for i := range cells {
					cells[i] = harmless(cells[i])
				}
				return w.Write(cells)
			}, func() error {
				w.Flush()
				return w.Error()
			}
	}
	return func(e audit.Entry, event audit.Event) error {
		cells := values(e, event)
		for i := range cells {
			cells[i] = shown(cells[i])
		}
		_, err := fmt.Fprintf(out, "%s  %-9s  %-20s  %-16s  %-15s  %s\n", cells[0], cells[1], cells[2], cells[3], cells[4], strings.Join(strings.Fields(strings.Join(cells[5:], " ")), " "))
		return err
	}, func() error { return nil }
}

// harmless keeps a spreadsheet from taking a cell for a formula (OWASP, CSV Injection).
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r\n", []rune(cell)[0]) {
		return "'" + cell
	}
	return cell
}

// shown replaces what a terminal would take for a command, and an empty cell.
func shown(cell string) string {
	if cell == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, cell)
}
