package rig

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Row is one line of the table: what was measured beside a plain limit, and what is to be reached.
type Row struct {
	What, Measured, Limit, Ratio, Reach string
	Verdict                             string // reached, missed, or nothing where there is no figure to reach
}

// PrintRows prints a table; of no rows, nothing.
func PrintRows(w io.Writer, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	rows = slices.Insert(slices.Clone(rows), 0, Row{"what", "measured", "limit", "ratio", "reach", ""})
	for _, r := range rows {
		line := strings.Join([]string{r.What, r.Measured, r.Limit, r.Ratio, r.Reach, r.Verdict}, "\t")
		if _, err := fmt.Fprintln(t, line); err != nil {
			return err
		}
	}
	return t.Flush()
}

// Verdict is what a row says of a figure.
func Verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "missed"
}

// Median is that of a list that is not empty; of an even number the lower of the two in the middle.
func Median[T int64 | float64 | time.Duration](list []T) T {
	list = slices.Sorted(slices.Values(list))
	return list[(len(list)-1)/2]
}

// Rate is in MiB a second.
func Rate(bytes int64, took time.Duration) float64 {
	return float64(bytes) / (1 << 20) / took.Seconds()
}

// RateText is how a table tells a rate.
func RateText(mibs float64) string { return fmt.Sprintf("%.0f MiB/s", mibs) }

// MsText is how a table tells a short time.
func MsText(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// SizeText is how a table tells a number of bytes.
func SizeText(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

// ParseSize reads a number of bytes as people write it.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGiB")
	shift, known := map[string]uint{"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !known || n < 1 || n > 1<<40>>shift {
		return 0, fmt.Errorf("must be a number of bytes, such as 1000000 or 256MiB")
	}
	return n << shift, nil
}
