package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pulsevault/local/bench/rig"
)

// What is to be reached by a function that is started for one event: section "Figures" of docs/design.md.
const (
	reachCold   = 50 * time.Millisecond // from the start of its process to its answer
	reachLoaded = 40 << 20              // bytes of memory
	reachInvoke = 500 * time.Millisecond
)

// coldEvents are one event for each function that answers HTTP.
var coldEvents = []string{"upload-create", "finalize", "sign", "stream-range", "health"}

// measureFunctions invokes each function once in a process of its own, again and again.
func measureFunctions(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	var bare []time.Duration
	for range b.rounds {
		began := time.Now()
		if err := exec.CommandContext(ctx, b.binary, "version").Run(); err != nil {
			return nil, err
		}
		bare = append(bare, time.Since(began))
	}
	limit := rig.MsText(rig.Median(bare)) + " pulsevault version"
	for _, name := range coldEvents {
		var cold, whole []time.Duration
		var memory int64
		for range b.rounds {
			one, err := b.invoke(ctx, name)
			if err != nil {
				return rows, err
			}
			cold, whole, memory = append(cold, one.cold), append(whole, one.whole), max(memory, one.memory)
		}
		function, _, _ := strings.Cut(name, "-")
		c, w := rig.Median(cold), rig.Median(whole)
		rows = append(rows,
			rig.Row{What: "cold start of " + function + ", to its answer", Measured: rig.MsText(c), Limit: limit,
				Ratio: fmt.Sprintf("%.1f", float64(c)/float64(rig.Median(bare))), Reach: "≤ " + rig.MsText(reachCold), Verdict: rig.Verdict(c <= reachCold)},
			rig.Row{What: "memory of " + function, Measured: rig.SizeText(memory), Reach: "≤ " + rig.SizeText(reachLoaded), Verdict: rig.Verdict(memory <= reachLoaded)},
			rig.Row{What: "make invoke FN=" + function, Measured: rig.MsText(w), Limit: limit,
				Ratio: fmt.Sprintf("%.1f", float64(w)/float64(rig.Median(bare))), Reach: "≤ " + rig.MsText(reachInvoke), Verdict: rig.Verdict(w <= reachInvoke)})
	}
	return rows, nil
}

// invocation is what one call of `pulsevault invoke` took.
type invocation struct {
	cold, whole time.Duration
	memory      int64
}

var reportForm = regexp.MustCompile(`REPORT .*\tDuration: ([0-9.]+) ms\t.*Max Memory Used: ([0-9]+) MB\tInit Duration: ([0-9.]+) ms`)

func (b *bench) invoke(ctx context.Context, event string) (one invocation, err error) {
	function, _, _ := strings.Cut(event, "-")
	cmd := exec.CommandContext(ctx, b.binary, "invoke", function, filepath.Join("events", event+".json"), "--media=events/media")
	cmd.Env = rig.Inherited("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "TEMP")
	var report bytes.Buffer
	cmd.Stderr = &report
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return one, fmt.Errorf("invoke %s: %w: %s", function, err, report.String())
	}
	one.whole = time.Since(began)
	m := reportForm.FindStringSubmatch(report.String())
	if m == nil {
		return one, fmt.Errorf("invoke %s printed no report: %s", function, report.String())
	}
	duration, _ := strconv.ParseFloat(m[1], 64) // of digits and a point
	init, _ := strconv.ParseFloat(m[3], 64)
	memory, _ := strconv.ParseInt(m[2], 10, 64)
	one.cold, one.memory = time.Duration((duration+init)*float64(time.Millisecond)), memory<<20
	return one, nil
}
