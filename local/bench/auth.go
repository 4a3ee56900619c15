package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"pulsevault/local/bench/rig"
)

// reachAuth is what may be left of a rate when callers are asked who they are.
const reachAuth = 0.9

// measureAuth has two servers take turns under the same load, of which one asks its callers for an API key. Each round has two
// of its own: of two that do the same, one is often some percent slower than the other for as long as they run.
func measureAuth(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	var all []compared
	for n := range b.rounds {
		if all, err = b.authRound(ctx, n, all); err != nil {
			return nil, err
		}
	}
	for _, c := range all {
		rows = append(rows, c.row())
	}
	return rows, nil
}

// compared is how one load was borne in the rounds so far.
type compared struct {
	what          string
	with, without []loaded
}

func (c compared) row() rig.Row {
	ratios := make([]float64, len(c.with))
	for n := range ratios {
		ratios[n] = c.with[n].perSecond / c.without[n].perSecond
	}
	ratio := rig.Median(ratios)
	return rig.Row{
		What: c.what + ", with AUTH_MODE=apikey", Measured: medians(c.with).text(), Limit: medians(c.without).text() + " with none",
		Ratio: fmt.Sprintf("%.2f", ratio), Reach: fmt.Sprintf("≥ %.2f", reachAuth), Verdict: rig.Verdict(ratio >= reachAuth),
	}
}

// authRound adds the n-th round to those before.
func (b *bench) authRound(ctx context.Context, n int, all []compared) ([]compared, error) {
	open, err := b.authHost(ctx, fmt.Sprint("open", n), "none")
	if err != nil {
		return nil, err
	}
	defer open.server.Stop()
	asking, err := b.authHost(ctx, fmt.Sprint("asking", n), "apikey")
	if err != nil {
		return nil, err
	}
	defer asking.server.Stop()
	for i, l := range asking.loads {
		borne, err := round(ctx, n, asking.contender(i), open.contender(i))
		if err != nil {
			return nil, open.server.Explain(asking.server.Explain(fmt.Errorf("%s: %w", l.what, err)))
		}
		if n == 0 {
			all = append(all, compared{what: l.what})
		}
		all[i].with, all[i].without = append(all[i].with, borne[0]), append(all[i].without, borne[1])
	}
	return all, nil
}

// authHost is a server with a video, and what is asked of it.
type authHost struct {
	server *rig.Server
	host   string
	loads  []streamed
}

func (h authHost) contender(load int) contender {
	return contender{h.host, h.loads[load].ours, []int{h.server.PID()}}
}

func (b *bench) authHost(ctx context.Context, name, mode string) (h authHost, err error) {
	if h.server, err = b.startServer(ctx, name, "AUTH_MODE="+mode); err != nil {
		return h, err
	}
	key := ""
	if mode != "none" {
		key, err = b.makeKey(ctx, name)
	}
	var id string
	if err == nil {
		id, err = b.storeVideo(ctx, name, &rig.Client{Base: h.server.URL, Key: key})
	}
	if err == nil {
		h.host = strings.TrimPrefix(h.server.URL, "http://")
		h.loads, err = streamLoads(ctx, h.host, id, key)
	}
	if err != nil {
		h.server.Stop()
	}
	return h, err
}

// makeKey makes a key for the server with a folder of that name. It may upload in the name in which the client does.
func (b *bench) makeKey(ctx context.Context, server string) (string, error) {
	cmd := exec.CommandContext(ctx, b.binary, "keys", "create", "--name", "bench", "--role", "uploader")
	cmd.Dir = filepath.Join(b.dir, server)
	cmd.Env = append(rig.Inherited("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "TEMP"), "MEDIA_ROOT="+cmd.Dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	key, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("make a key: %w: %s", err, &said)
	}
	return strings.TrimSpace(string(key)), nil
}
