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
)

// reachFront is what of a plain nginx's rate is to be reached by the nginx that stands before the server.
const reachFront = 1.0

// measureFront has the nginx of nginx/, whose cache has what is asked for, take turns with a plain one. Each request still asks the
// server, which records the access.
func measureFront(ctx context.Context, b *bench) (rows []rig.Row, err error) {
	program, missing := exec.LookPath("nginx")
	if missing != nil {
		fmt.Println("nginx is not installed, so nothing is measured behind it")
		return nil, nil
	}
	s, err := b.startServer(ctx, "front", "TRUSTED_PROXIES=127.0.0.1")
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	id, err := b.storeVideo(ctx, "front", &rig.Client{Base: s.URL})
	if err != nil {
		return nil, err
	}
	front, err := b.startFront(ctx, program, strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		return nil, err
	}
	defer front.stop()
	plain, err := b.startNginx(ctx, program, filepath.Join(b.dir, "front", "videos", id, "hls"))
	if err != nil {
		return nil, err
	}
	defer plain.stop()
	loads, err := streamLoads(ctx, front.host, id, "")
	if err != nil {
		return nil, err
	}
	for _, l := range loads {
		if !l.nginx {
			continue
		}
		if err := front.fill(ctx, l.ours); err != nil {
			return rows, s.Explain(err)
		}
		l.what, l.ofNginx = l.what+", from nginx's cache", reachFront
		more, err := b.streamRows(ctx, front.host, front.cmd.Process.Pid, l, []*plainServer{plain})
		rows = append(rows, more...)
		if err != nil {
			return rows, s.Explain(fmt.Errorf("%s: %w", l.what, err))
		}
	}
	return rows, nil
}

// fill has something fetched into the cache, and sees that it comes from there.
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

// startFront starts nginx with the configuration that the stack has, but for its limits, in one process as the plain one.
func (b *bench) startFront(ctx context.Context, program, server string) (*plainServer, error) {
	home, err := os.MkdirTemp(b.dir, "front-nginx-")
	if err != nil {
		return nil, err
	}
	var addresses [3]string
	for i := range addresses {
		port, err := rig.FreePort()
		if err != nil {
			return nil, err
		}
		addresses[i] = "127.0.0.1:" + port
	}
	certificate := exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
		"-keyout", home+"/privkey.pem", "-out", home+"/fullchain.pem")
	if out, err := certificate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a certificate: %w: %s", err, out)
	}
	settings := []string{
		"PULSEVAULT_ADDR=" + server, "LISTEN_HTTP=" + addresses[0], "LISTEN_HTTPS=" + addresses[1], "LISTEN_INTERNAL=" + addresses[2], "NGINX_CACHE_DIR=" + home,
		"NGINX_TEMP_DIR=" + home, "TLS_CERTIFICATE=" + home + "/fullchain.pem", "TLS_CERTIFICATE_KEY=" + home + "/privkey.pem",
		"RATE_API=999999", "RATE_API_BURST=999999", "RATE_MEDIA=999999", "RATE_MEDIA_BURST=999999", "RATE_CONNECTIONS=999",
	}
	if err := renderNginx(ctx, home, settings); err != nil {
		return nil, fmt.Errorf("render the configuration of nginx: %w", err)
	}
	s := &plainServer{name: "nginx before the server", host: addresses[0]}
	s.cmd = exec.CommandContext(ctx, program, "-e", "stderr", "-p", home, "-c", home+"/nginx.conf", "-g", "daemon off; master_process off;")
	return s, s.start()
}

// renderNginx does with the templates of nginx/ what the image's entry point does.
func renderNginx(ctx context.Context, home string, settings []string) error {
	read := exec.CommandContext(ctx, "sh", "-c", ". ./10-settings.envsh && env -0")
	read.Dir, read.Env = "nginx/entrypoint", append(rig.Inherited("PATH"), settings...)
	out, err := read.Output()
	if err != nil {
		return err
	}
	var values []string
	for setting := range strings.SplitSeq(string(out), "\x00") {
		name, value, _ := strings.Cut(setting, "=")
		values = append(values, "${"+name+"}", value)
	}
	templates, err := filepath.Glob("nginx/templates/*.template")
	if err != nil || len(templates) == 0 {
		return errors.Join(err, errors.New("there are no templates: run this where nginx/ is"))
	}
	render := strings.NewReplacer(append(values, "/etc/nginx/conf.d/*.conf", home+"/conf.d/*", "/tmp/nginx.pid", home+"/pid")...)
	rendered := func(from, to string) error {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		return os.WriteFile(to, []byte(render.Replace(string(text))), 0o600)
	}
	if err := errors.Join(os.Mkdir(home+"/conf.d", 0o700), rendered("nginx/nginx.conf", home+"/nginx.conf")); err != nil {
		return err
	}
	for _, from := range templates {
		if err := rendered(from, filepath.Join(home, "conf.d", filepath.Base(from))); err != nil {
			return err
		}
	}
	return nil
}
