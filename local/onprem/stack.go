package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/joho/godotenv"

	"pulsevault/local/bench/rig"
)

// stack is a running stack, as its administrator has it.
type stack struct {
	*rig.Client        // through nginx, with the administrator's key
	dir         string // of docker-compose.yml
	trust       *trust
}

// answerTimeout is how long one request may take, from its first byte to the last of its answer.
const answerTimeout = 10 * time.Second

func openStack(dir string) (*stack, error) {
	settings, err := godotenv.Read(filepath.Join(dir, ".env"))
	if err != nil {
		return nil, fmt.Errorf("read the settings of the stack: %w", err)
	}
	trust := &trust{file: filepath.Join(dir, settings["TLS_DIR"], "fullchain.pem"), roots: x509.NewCertPool(), name: settings["SERVER_NAME"]}
	if err := trust.read(); err != nil {
		return nil, err
	}
	dial := net.Dialer{Timeout: 3 * time.Second}
	local := net.JoinHostPort("127.0.0.1", settings["HTTPS_PORT"])
	transport := &http.Transport{
		// Wherever the name leads to: this machine is meant.
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial.DialContext(ctx, "tcp", local) },
		TLSClientConfig:     trust.config(),
		MaxIdleConnsPerHost: 100,
	}
	return &stack{&rig.Client{
		Base: "https://" + net.JoinHostPort(settings["SERVER_NAME"], settings["HTTPS_PORT"]),
		Key:  settings["PULSEVAULT_ADMIN_KEY"],
		HTTP: http.Client{Transport: transport, Timeout: answerTimeout},
	}, dir, trust}, nil
}

// setting is what .env says now.
func (s *stack) setting(name string) (string, error) {
	settings, err := godotenv.Read(filepath.Join(s.dir, ".env"))
	return settings[name], err
}

// docker runs docker in the stack's folder and returns what it printed; an error holds what it said.
func (s *stack) docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Dir = s.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("docker %s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// inside runs a command in a service's container.
func (s *stack) inside(ctx context.Context, service string, command ...string) (string, error) {
	return s.docker(ctx, append([]string{"compose", "exec", "-T", service}, command...)...)
}

// containers are those of a service, also while they do not run.
func (s *stack) containers(ctx context.Context, service string) ([]string, error) {
	out, err := s.docker(ctx, "compose", "ps", "--all", "--quiet", service)
	return strings.Fields(out), err
}

// services are those that run.
func (s *stack) services(ctx context.Context) ([]string, error) {
	out, err := s.docker(ctx, "compose", "ps", "--status", "running", "--services")
	return strings.Fields(out), err
}

// awaitHealthy returns when Docker says of each container that it is healthy.
func (s *stack) awaitHealthy(ctx context.Context, containers []string) error {
	for {
		out, err := s.docker(ctx, append([]string{"inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}"}, containers...)...)
		if err != nil {
			return err
		}
		if strings.Count(out, "running healthy\n") == len(containers) {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("not healthy: %q: %w", out, err)
		}
	}
}

// clip has the ffmpeg of a worker make two seconds of video.
func (s *stack) clip(ctx context.Context) ([]byte, error) {
	out, err := s.inside(ctx, "transcode-worker", "ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2",
		"-f", "lavfi", "-i", "sine=duration=2", "-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac",
		"-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:1")
	return []byte(out), err
}

// pause waits, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
