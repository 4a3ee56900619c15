// Command onprem puts a running stack of docker-compose.yml under load and breaks it, and says whether what it promises held:
//
//	onprem kill     kills each service in turn under a steady flow of uploads and plays, and starts it again
//	onprem upgrade  makes the containers of each service anew under the same flow, as an upgrade does
//	onprem rotate   changes each secret in turn under the same flow
//	onprem backup   takes a backup into a folder under the same flow, and looks whether it has what was there before
//	onprem fill     fills the volume of the media to its last byte, and empties it again
//	onprem plays    begins 2,000 plays a minute, and tells how long they took
//
// It goes through nginx with the certificate and the key of .env in the working directory, which is that of the stack, and only
// ever to 127.0.0.1. The exit status is 1 if something did not hold.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type commands struct {
	Kill    killCommand    `cmd:"" help:"Kill each service in turn under a steady flow of uploads and plays, and start it again."`
	Upgrade upgradeCommand `cmd:"" help:"Make the containers of each service anew under a steady flow of uploads and plays, as an upgrade does."`
	Rotate  rotateCommand  `cmd:"" help:"Change each secret in turn, cut off and begun again, under a steady flow of uploads and plays."`
	Backup  backupCommand  `cmd:"" help:"Take a backup into a folder under a steady flow of uploads and plays."`
	Fill    fillCommand    `cmd:"" help:"Fill the volume of the media, which must be a small one, and empty it again."`
	Plays   playsCommand   `cmd:"" help:"Begin plays at a steady rate and tell how long they took."`

	Limit time.Duration `default:"20m" help:"Give up after this long."`
}

func main() {
	var c commands
	parsed := kong.Parse(&c, kong.Name("onprem"), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, c.Limit)
	parsed.BindTo(ctx, (*context.Context)(nil))
	s, err := openStack(".")
	if err == nil {
		err = parsed.Run(s)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("not done after %v (--limit): %w", c.Limit, err)
	}
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "onprem:", err)
		os.Exit(1)
	}
}
