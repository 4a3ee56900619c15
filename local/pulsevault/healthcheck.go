package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pulsevault/pkg/app"
)

// healthTimeout is more than the process itself takes to find out, and less than whoever starts the command waits.
const healthTimeout = 4 * time.Second

type healthcheckCommand struct {
	Addr string `placeholder:"HOST:PORT" help:"Where the process listens on this machine, if not at HOST and PORT."`
}

// Run asks a process on this machine whether it is ready, as its container's health check does.
func (h healthcheckCommand) Run(ctx context.Context) error {
	addr := h.Addr
	if addr == "" {
		c, _, err := configure()
		if err != nil {
			return err
		}
		if addr, err = ownAddr(c); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if err := askReady(ctx, addr); err != nil {
		return err
	}
	_, err := fmt.Println("ready")
	return err
}

// ownAddr is where a server with the same settings is reached from the same machine.
func ownAddr(c app.Config) (string, error) {
	if c.Port == 0 {
		return "", errors.New("PORT=0 does not say where the server listens: give --addr")
	}
	host := c.Host
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(c.Port)), nil
}

// askReady returns nil if the process at addr says that it is ready, and what is down if not.
func askReady(ctx context.Context, addr string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("--addr=%s: it must be such as 127.0.0.1:3000", addr)
	}
	direct := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // whatever proxy the environment names
	answer, err := direct.Do(request)
	if err != nil {
		return fmt.Errorf("not ready: nobody answers at %s: %w", addr, err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	var said struct {
		Checks map[string]string `json:"checks"`
	}
	_ = json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&said) // whoever else listens there may say anything
	maps.DeleteFunc(said.Checks, func(_, result string) bool { return result == "ok" })
	if len(said.Checks) == 0 {
		return fmt.Errorf("not ready: %s answers %s", addr, answer.Status)
	}
	return fmt.Errorf("not ready: down are %s", strings.Join(slices.Sorted(maps.Keys(said.Checks)), ", "))
}
