package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pulsevault/local/bench/rig"
)

type rotateCommand struct {
	Settle  time.Duration `default:"5s" help:"How long everything runs undisturbed in between."`
	Secrets []string      `arg:"" optional:"" help:"Secrets to change: hmac, redis, certificate; all, if none is named."`
}

// Run changes one secret after another, each first cut off after its first step and begun again, and then once in one go. What was
// acknowledged must be there at the end, no play may fail at any time, links of before must play, and what was used before must be
// refused.
func (r rotateCommand) Run(ctx context.Context, s *stack) error {
	if len(r.Secrets) == 0 {
		r.Secrets = []string{"hmac", "redis", "certificate"}
	}
	clip, err := s.clip(ctx)
	if err != nil {
		return err
	}
	l, p := &ledger{videos: map[string][sha256.Size]byte{}}, &plays{}
	watched, err := s.transcoded(ctx, clip, l)
	if err != nil {
		return err
	}
	before, err := s.secretsOfNow(ctx, watched)
	if err != nil {
		return err
	}
	outages, err := s.underLoad(ctx, r.Settle, clip, watched, l, p, r.Secrets, rotateThrice)
	if err != nil {
		return err
	}
	err = errors.Join(report("changed", outages, p), p.wantNone())
	for _, secret := range r.Secrets {
		err = errors.Join(err, before.wantChanged(ctx, s, secret))
	}
	_, playErr := s.play(ctx, watched)
	err = errors.Join(err, playErr, l.check(ctx, s))
	l.print()
	return err
}

// rotateThrice has a secret changed, and cut off after the first step, then after the second, and then not.
func rotateThrice(ctx context.Context, s *stack, secret string) error {
	for _, cut := range []string{"1. ", "2. ", ""} {
		if said, err := s.rotate(ctx, cut, secret); err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
	}
	return nil
}

// rotate runs the script, and kills it when it has said that a step is done, if that is not empty.
func (s *stack) rotate(ctx context.Context, cut string, args ...string) (said string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join("local", "rotate.sh"), args...)
	cmd.Dir = s.dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	killed := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said += lines.Text() + "\n"
		if cut != "" && !killed && strings.HasPrefix(lines.Text(), cut) {
			killed = true
			_ = cmd.Process.Kill() // it has ended by itself otherwise
		}
	}
	err = cmd.Wait()
	switch {
	case cut != "" && !killed:
		return said, errors.Join(fmt.Errorf("step %q was never said to be done", cut), err)
	case killed:
		return said, nil
	}
	return said, err
}

// secrets are what is to be good for nothing after a change, and a link that stays good.
type secrets struct {
	link, password string
	certificate    []byte
}

func (s *stack) secretsOfNow(ctx context.Context, video string) (now secrets, err error) {
	if now.link, err = s.Link(ctx, video, "hls/master.m3u8"); err != nil {
		return now, err
	}
	if now.password, err = s.setting("REDIS_PASSWORD"); err != nil {
		return now, err
	}
	now.certificate, err = s.shown(ctx)
	return now, err
}

// wantChanged looks whether a secret has been changed, as those see it for whom it is.
func (before secrets) wantChanged(ctx context.Context, s *stack, secret string) error {
	switch secret {
	case "hmac":
		return before.wantLinkEnds(ctx, s)
	case "redis":
		answer, err := s.inside(ctx, "redis", "sh", "-c", "REDISCLI_AUTH="+before.password+" redis-cli ping 2>&1")
		if err != nil || !strings.Contains(answer, "NOAUTH") {
			return fmt.Errorf("the password of before still opens Redis: %w: %s", err, answer)
		}
		fmt.Println("Redis, by the password of before:", lastLine(answer))
		return nil
	default:
		shown, err := s.shown(ctx)
		if err != nil {
			return err
		}
		file, err := os.ReadFile(s.trust.file)
		if err != nil {
			return err
		}
		block, _ := pem.Decode(file)
		if bytes.Equal(shown, before.certificate) || block == nil || !bytes.Equal(shown, block.Bytes) {
			return errors.New("nginx does not show the certificate that is in its file now")
		}
		fmt.Println("nginx shows the certificate that is in its file now, and not the one of before")
		return nil
	}
}

// wantLinkEnds wants a link of before to play until the secret that it is signed by is dropped, which is refused while it may live.
func (before secrets) wantLinkEnds(ctx context.Context, s *stack) error {
	if _, err := s.Get(ctx, before.link); err != nil {
		return fmt.Errorf("a link of before does not play: %w", err)
	}
	if _, err := s.rotate(ctx, "", "hmac", "--finish"); err == nil {
		return errors.New("the previous secret was dropped while links of it may live")
	}
	if _, err := s.Get(ctx, before.link); err != nil {
		return fmt.Errorf("a link of before does not play: %w", err)
	}
	if said, err := s.rotate(ctx, "", "hmac", "--finish", "--force"); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if _, err := s.Get(ctx, before.link); rig.StatusOf(err) != http.StatusUnauthorized {
		return fmt.Errorf("a link of a secret that was dropped is not refused with 401: %w", err)
	}
	fmt.Println("a link of before plays until the previous secret is dropped, which is refused while it may live; then 401")
	return nil
}

// shown is the certificate that nginx shows to a new connection.
func (s *stack) shown(ctx context.Context) ([]byte, error) {
	port, err := s.setting("HTTPS_PORT")
	if err != nil {
		return nil, err
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Second}, Config: s.trust.config()}
	c, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // nothing was said by it
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// wantNone wants that no play failed.
func (p *plays) wantNone() error {
	var err error
	failed := 0
	for _, one := range p.list {
		if one.err != nil {
			failed, err = failed+1, one.err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d plays failed: %w", failed, len(p.list), err)
	}
	return nil
}
