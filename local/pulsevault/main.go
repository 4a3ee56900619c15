// Command pulsevault runs PulseVault on a machine of one's own.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"

	"pulsevault/pkg/app"
	"pulsevault/pkg/redisdb"
)

type commands struct {
	Serve      serveCommand       `cmd:"" help:"Serve the API and run transcode workers beside it. Settings come from the environment."`
	Worker     workerCommand      `cmd:"" help:"Run transcode workers only."`
	Emulate    emulateCommand     `cmd:"" help:"Host the compiled functions as AWS does: Lambda, API Gateway, queue and schedule."`
	Invoke     invokeCommand      `cmd:"" help:"Invoke one function once with an event; the exit status is 1 if it fails."`
	Queue      queueCommands      `cmd:"" help:"Look at the tasks, start failed videos again, cancel videos."`
	Keys       keysCommands       `cmd:"" help:"Make, list and revoke API keys, for AUTH_MODE=apikey."`
	Audit      auditCommands      `cmd:"" help:"Look after the audit log."`
	Backup     backupCommands     `cmd:"" help:"Take a snapshot of the store into a folder on another disk, while servers run; or verify one."`
	Restore    restoreCommand     `cmd:"" help:"Bring a snapshot back into empty folders."`
	Compliance complianceCommand  `cmd:"" help:"Say how the settings answer the safeguards of 45 CFR 164.312; the exit status is 1 if any answer is off."`
	HLS        hlsCommands        `cmd:"" name:"hls" help:"Look at published video."`
	Health     healthcheckCommand `cmd:"" name:"healthcheck" help:"Ask the process on this machine whether it is ready; the exit status is 1 if it is not."`
	Version    versionCommand     `cmd:"" help:"Print the version."`
}

type auditCommands struct {
	Verify      verifyCommand      `cmd:"" help:"Check every chain and checkpoint, of AUDIT_DIR or of a copy; the exit status is 1 if anything is wrong."`
	Report      reportCommand      `cmd:"" help:"Print who did what."`
	Key         keyCommand         `cmd:"" help:"Print the public key of the checkpoints, which whoever verifies a copy needs."`
	Emergencies emergenciesCommand `cmd:"" help:"List the links that were given in an emergency, and what was done with them, for review."`
}

type versionCommand struct{}

func (versionCommand) Run() error {
	_, err := fmt.Println("pulsevault", app.Version)
	return err
}

func main() {
	if err := runCommand(); err != nil {
		fmt.Fprintln(os.Stderr, "pulsevault:", err)
		os.Exit(1)
	}
}

func runCommand() error {
	var c commands
	parsed := kong.Parse(&c, kong.Name("pulsevault"), kong.Description("PulseVault stores and delivers video for health care."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run()
}

// configure reads the configuration and makes the log that goes with it.
func configure() (app.Config, *slog.Logger, error) {
	if os.Getenv("APP_ENV") != "production" {
		if err := godotenv.Load(); err != nil && !os.IsNotExist(err) {
			return app.Config{}, nil, fmt.Errorf("read .env: %w", err)
		}
	}
	c, err := app.ConfigFromEnv(os.Getenv)
	if err != nil {
		return c, nil, err
	}
	options := &slog.HandlerOptions{Level: c.LogLevel}
	log := slog.New(slog.NewTextHandler(os.Stderr, options))
	if c.Production {
		log = slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	redisdb.LogTo(log)
	return c, log, nil
}
