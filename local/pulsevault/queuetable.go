package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"pulsevault/pkg/app"
	"pulsevault/pkg/vault"
)

// writeTasks prints a list for people: how much there is, then the tasks, and how many of each state are left out.
func writeTasks(w io.Writer, list app.TaskList) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "QUEUE\tRUNNING\tWAITING\tRETRYING\tDEAD\n")
	for _, q := range list.Queues {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", q.Queue, number(q.Running), number(q.Waiting), number(q.Retrying), number(q.Dead))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(list.Tasks) > 0 {
		fmt.Fprintf(&b, "\n")
		fmt.Fprintf(table, "STATE\tTASK\tVIDEO\tFILE\tTRY\tDONE\tNEXT TRY\tLAST ERROR\n")
		for _, t := range list.Tasks {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d of %d\t%s\t%s\t%s\n", state(t), kind(t), video(t), printable(t.Filename, 30),
				t.Tries, t.MaxTries, percent(t.Progress), moment(t.NextTry), printable(t.LastError, 70))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	b.WriteString(leftOut(list))
	_, err := io.WriteString(w, b.String())
	return err
}

// leftOut says what the list does not show.
func leftOut(list app.TaskList) string {
	if !list.Listed {
		return "\nAmazon SQS cannot be asked which tasks it holds: these are counts, and RUNNING holds those too that wait for their next try.\n"
	}
	left := make(map[string]int)
	for _, q := range list.Queues {
		for state, n := range map[string]*int{"running": q.Running, "waiting": q.Waiting, "retrying": q.Retrying, "dead": q.Dead} {
			if n != nil {
				left[state] += *n
			}
		}
	}
	for _, t := range list.Tasks {
		left[t.State]--
	}
	var more []string
	for _, state := range []string{"running", "waiting", "retrying", "dead"} {
		if left[state] > 0 {
			more = append(more, fmt.Sprintf("%d more %s", left[state], state))
		}
	}
	if len(more) == 0 {
		return ""
	}
	return "\n" + strings.Join(more, ", ") + "; --limit lists more\n"
}

func state(t app.TaskEntry) string {
	if t.Orphaned {
		return t.State + ", worker gone"
	}
	return t.State
}

func kind(t app.TaskEntry) string {
	switch t.Type {
	case vault.TranscodePiece:
		return fmt.Sprintf("piece %d", t.Piece)
	case "":
		return "not understood"
	}
	return string(t.Type)
}

func video(t app.TaskEntry) string { return cmp.Or(string(t.VideoID), printable(t.ID, 36)) }

func number(n *int) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprint(*n)
}

func percent(done *float64) string {
	if done == nil {
		return ""
	}
	return fmt.Sprintf("%.0f%%", *done*100)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("15:04:05")
}

// printable is a text that somebody else has chosen, on one line, of at most so many characters and with none that a terminal
// would obey.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
