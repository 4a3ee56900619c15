package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"pulsevault/local/bench/rig"
	"pulsevault/pkg/freeport"
)

// nginxFolder is the configuration of what stands before a server, below the folder in which this program is run.
const nginxFolder = "nginx"

// reachFront is what is to be left of nginx's own rate for a segment: one of 1 MB is bytes for the most part.
const reachFront = 0.9

// measureFront has nginx, before a server that it asks for every request whether it may serve a file, take turns with nginx
// that serves the same file to everybody. The file is in the first one's cache.
func measureFront(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	if _, err := exec.LookPath("nginx"); err != nil {
		fmt.Println("nginx is not installed, so nothing goes through it")
		return nil, nil // a comparison less is no failure
	}
	s, err := b.startServer(ctx, "front", "TRUSTED_PROXIES=127.0.0.1")
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	host := strings.TrimPrefix(s.URL, "http://")
	id, err := b.storeVideo(ctx, "front", &rig.Client{Base: s.URL})
	if err != nil {
		return nil, err
	}
	front, err := b.startFront(ctx, host)
	if err != nil {
		return nil, err
	}
	defer front.stop()
	plain, err := b.startNginx(ctx, "nginx", filepath.Join(b.dir, "front", "videos", id, "hls"))
	if err != nil {
		return nil, err
	}
	defer plain.stop()
	loads, err := streamLoads(ctx, host, id, "")
	if err != nil {
		return nil, err
	}
	for _, l := range loads {
		if !l.nginx {
			continue
		}
		row := rig.Row{}
		if err = front.fill(ctx, l.ours); err == nil {
			row, err = b.frontRow(ctx, front, plain, s.PID(), l)
		}
		if err != nil {
			return rows, s.Explain(fmt.Errorf("%s through nginx: %w", l.what, err))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// fill has nginx fetch something into its cache, and sees that it comes from there.
func (s *plainServer) fill(ctx context.Context, l load) error {
	var status string
	for range 3 {
		header, _, err := answer(ctx, s.host, l)
		if err != nil {
			return err
		}
		if status = header.Get("X-Cache-Status"); status == "HIT" {
			return nil
		}
	}
	return fmt.Errorf("nginx does not keep what it is asked for: X-Cache-Status is %q", status)
}

// startFront starts nginx as it is configured here, without a limit that this load would reach.
func (b *bench) startFront(ctx context.Context, server string) (*plainServer, error) {
	var listen []string
	for range 3 {
		address, err := freeport.Address()
		if err != nil {
			return nil, err
		}
		listen = append(listen, address)
	}
	folder := filepath.Join(b.dir, "before")
	err := errors.Join(os.Mkdir(folder, 0o750), rig.RenderNginx(ctx, nginxFolder, folder,
		"PULSEVAULT_ADDR="+server, "LISTEN_HTTP="+listen[0], "LISTEN_HTTPS="+listen[1], "LISTEN_INTERNAL="+listen[2],
		"RATE_MEDIA=999999", "RATE_MEDIA_BURST=999999", "RATE_CONNECTIONS=59999"))
	if err != nil {
		return nil, err
	}
	s := &plainServer{name: "nginx before it", host: listen[0], cmd: rig.Nginx(ctx, folder, "master_process off;")}
	return s, s.start()
}

func (b *bench) frontRow(ctx context.Context, front, plain *plainServer, server int, l streamed) (rig.Row, error) {
	borne, err := b.byTurns(ctx, contender{front.host, l.ours, []int{front.cmd.Process.Pid, server}}, plain.contender(l))
	if err != nil {
		return rig.Row{}, err
	}
	got, limit := medians(borne[0]), medians(borne[1])
	ratio := got.perSecond / limit.perSecond
	row := rig.Row{What: l.what + " through nginx", Measured: got.text(), Limit: limit.text() + " nginx alone", Ratio: fmt.Sprintf("%.2f", ratio)}
	if l.ours.length >= segmentSize {
		row.Reach, row.Verdict = fmt.Sprintf("≥ %.2f", reachFront), rig.Verdict(ratio >= reachFront)
	}
	return row, nil
}
