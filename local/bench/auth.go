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

// measureAuth has two servers take turns under the same load, of which one asks its callers for an API key.
func measureAuth(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	open, err := b.authHost(ctx, "open", "none")
	if err != nil {
		return nil, err
	}
	defer open.server.Stop()
	asking, err := b.authHost(ctx, "asking", "apikey")
	if err != nil {
		return nil, err
	}
	defer asking.server.Stop()
	for i, l := range asking.loads {
		borne, err := b.byTurns(ctx, contender{asking.host, l.ours, []int{asking.server.PID()}}, contender{open.host, open.loads[i].ours, []int{open.server.PID()}})
		if err != nil {
			return rows, open.server.Explain(asking.server.Explain(fmt.Errorf("%s: %w", l.what, err)))
		}
		with, without := borne[0], borne[1]
		ratios := make([]float64, b.rounds) // of two that were measured one right after the other, while the machine was as fast for both
		for n := range ratios {
			ratios[n] = with[n].perSecond / without[n].perSecond
		}
		ratio := rig.Median(ratios)
		rows = append(rows, rig.Row{
			What: l.what + ", with AUTH_MODE=apikey", Measured: medians(with).text(), Limit: medians(without).text() + " with none",
			Ratio: fmt.Sprintf("%.2f", ratio), Reach: fmt.Sprintf("≥ %.2f", reachAuth), Verdict: rig.Verdict(ratio >= reachAuth),
		})
	}
	return rows, nil
}

// authHost is a server with a video, and what is asked of it.
type authHost struct {
	server *rig.Server
	host   string
	loads  []streamed
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
