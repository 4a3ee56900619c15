package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pulsevault/pkg/freeport"
)

// plainServer is a server that does nothing but send files, in a process of its own.
type plainServer struct {
	name, host string
	cmd        *exec.Cmd
}

// bareDir, in the environment, makes this program a plain server of the files in a directory, on the address in bareHost.
const bareDir, bareHost = "PULSEVAULT_BENCH_BARE", "PULSEVAULT_BENCH_HOST"

// serveBare sends files by http.ServeContent, as any Go program can, and answers a POST with as much as a link takes.
func serveBare(dir, host string) error {
	link := make([]byte, 300)
	return http.ListenAndServe(host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Length", fmt.Sprint(len(link)))
			_, _ = w.Write(link)
			return
		}
		f, err := os.Open(filepath.Join(dir, filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer func() { _ = f.Close() }() // read only
		info, err := f.Stat()
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "video/mp2t")
		http.ServeContent(w, r, "", info.ModTime(), f)
	}))
}

func (s *plainServer) contender(l streamed) contender {
	return contender{s.host, *l.plain, []int{s.cmd.Process.Pid}}
}

// startPlain starts the plain servers that this machine has: our own, and nginx.
func (b *bench) startPlain(ctx context.Context, dir string) (servers []*plainServer, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	bare := &plainServer{"http.ServeContent", address, exec.CommandContext(ctx, self)}
	bare.cmd.Env = []string{bareDir + "=" + dir, bareHost + "=" + bare.host}
	if err := bare.start(); err != nil {
		return nil, err
	}
	nginx, missing := exec.LookPath("nginx")
	if missing != nil {
		fmt.Println("nginx is not installed, so nothing is compared with it")
		return []*plainServer{bare}, nil //nolint:nilerr // a comparison less is no failure
	}
	beside, err := b.startNginx(ctx, nginx, dir)
	if err != nil {
		bare.stop()
		return nil, err
	}
	return []*plainServer{bare, beside}, nil
}

func (b *bench) startNginx(ctx context.Context, program, dir string) (*plainServer, error) {
	address, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	s := &plainServer{name: "nginx", host: address}
	home, err := os.MkdirTemp(b.dir, "nginx-")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(home, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server { listen %[2]s; root %[3]s; }
}
`, home, s.host, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, program, "-e", "stderr", "-p", home, "-c", config)
	return s, s.start()
}

func (s *plainServer) start() error {
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	for range 100 {
		if conn, err := net.Dial("tcp", s.host); err == nil {
			return conn.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.stop()
	return errors.New(s.name + " does not listen")
}

func (s *plainServer) stop() {
	_ = s.cmd.Process.Kill() // it holds nothing
	_ = s.cmd.Wait()
}
