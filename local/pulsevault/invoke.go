package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/local/emulator"
	"pulsevault/pkg/app"
	"pulsevault/pkg/redisdb"
)

type invokeCommand struct {
	functionFlags
	Function string `arg:"" help:"The function, such as sign."`
	Event    string `arg:"" help:"A file with the event, as JSON." type:"existingfile"`
	Media    string `help:"Work on a copy of this media folder, with its secret, and not on MEDIA_ROOT." type:"existingdir"`
}

// Run invokes a function once: its answer goes to standard output, its log and Lambda's report to standard error.
func (i invokeCommand) Run(ctx context.Context) (err error) {
	event, err := os.ReadFile(i.Event)
	if err != nil {
		return err
	}
	template, err := emulator.ReadTemplate(i.Template)
	if err != nil {
		return err
	}
	if i.Media != "" {
		folder, err := copyMedia(i.Media)
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		if err != nil {
			return err
		}
	}
	c, log, err := configure()
	if err != nil {
		return err
	}
	closeRedis, err := anyRedis(&c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRedis()) }()
	return i.invoke(ctx, c, template, event)
}

func (i invokeCommand) invoke(ctx context.Context, c app.Config, t emulator.Template, event []byte) error {
	host := emulator.New(emulator.Config{
		Template: t, Dir: i.Functions, Env: functionEnvironment(c), Log: os.Stderr,
		Metrics: emulator.NewMetrics(prometheus.NewRegistry()),
	})
	defer host.Close()
	answer, err := host.Invoke(ctx, i.Function, event)
	if err != nil {
		return err
	}
	if _, err := fmt.Printf("%s\n", answer.Payload); err != nil {
		return err
	}
	if answer.Failed {
		return fmt.Errorf("function %s failed", i.Function)
	}
	return nil
}

// copyMedia copies a media folder to a temporary one and has all settings lead there.
func copyMedia(from string) (folder string, err error) {
	if folder, err = os.MkdirTemp("", "pulsevault-invoke-*"); err != nil {
		return "", err
	}
	if err := os.CopyFS(folder, os.DirFS(from)); err != nil {
		return folder, fmt.Errorf("copy %s: %w", from, err)
	}
	for _, name := range []string{"UPLOAD_DIR", "VIDEO_DIR", "AUDIT_DIR", "STORAGE", "AUDIT_QUEUE_URL", "QUEUE", "HMAC_SECRET", "REDIS_HOST"} {
		if err := os.Setenv(name, ""); err != nil { // empty and not unset, so that no .env brings it back
			return folder, err
		}
	}
	return folder, os.Setenv("MEDIA_ROOT", folder)
}

// anyRedis starts an embedded Redis if there is none to be found.
func anyRedis(c *app.Config, log *slog.Logger) (stop func() error, err error) {
	nothing := func() error { return nil }
	if c.RedisAddr != "" {
		return nothing, nil
	}
	if _, err := redisdb.FindEmbedded(c.MediaRoot); err == nil {
		return nothing, nil
	}
	embedded, err := startRedis(c, log)
	if err != nil {
		return nothing, err
	}
	return embedded.Close, nil
}
