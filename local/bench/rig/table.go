package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the table: what was measured beside a plain limit, and what is to be reached.
type row struct {
	what, measured, limit, ratio, reach string
	verdict                             string // reached, missed, or nothing where there is no figure to reach
}

func printRows(w io.Writer, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	rows = slices.Insert(slices.Clone(rows), 0, row{"what", "measured", "limit", "ratio", "reach", ""})
	for _, r := range rows {
		line := strings.Join([]string{r.what, r.measured, r.limit, r.ratio, r.reach, r.verdict}, "\t")
		if _, err := fmt.Fprintln(t, line); err != nil {
			return err
		}
	}
	return t.Flush()
}

func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "missed"
}

// median is that of a list that is not empty; of an even number the lower of the two in the middle.
func median[T int64 | float64 | time.Duration](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return list[(len(list)-1)/2]
}

// rate is in MiB a second.
func rate(bytes int64, took time.Duration) float64 {
	return float64(bytes) / (1 << 20) / took.Seconds()
}

func rateText(mibs float64) string { return fmt.Sprintf("%.0f MiB/s", mibs) }

func msText(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func sizeText(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGiB")
	shift, known := map[string]uint{"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 1 || n > 1<<40>>shift {
		return 0, fmt.Errorf("must be a number of bytes, such as 1000000 or 256MiB")
	}
	return n << shift, nil
}
