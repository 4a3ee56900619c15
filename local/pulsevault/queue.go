package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"pulsevault/pkg/app"
	"pulsevault/pkg/vault"
)

type queueCommands struct {
	List   queueListCommand   `cmd:"" default:"withargs" help:"List what is running, waiting, to be tried again, and dead."`
	Retry  queueRetryCommand  `cmd:"" help:"Start a video again that has failed; the exit status is 1 if there is nothing to retry."`
	Cancel queueCancelCommand `cmd:"" help:"Give a video up, be it waiting or worked on; the exit status is 1 if there is nothing to cancel."`
}

type queueListCommand struct {
	JSON  bool `name:"json" help:"Print the list as JSON."`
	Limit int  `help:"How many tasks of each queue and state to list at most." default:"20"`
}

// Run lists what is queued.
func (l queueListCommand) Run(ctx context.Context) error {
	if l.Limit < 1 {
		return fmt.Errorf("--limit=%d: it must be 1 or more", l.Limit)
	}
	return withApp(ctx, func(a *app.App) error {
		list, err := a.Tasks(ctx, l.Limit)
		if err != nil {
			return err
		}
		if !l.JSON {
			return writeTasks(os.Stdout, list)
		}
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false)
		return out.Encode(list)
	})
}

type queueRetryCommand struct {
	ID      string `arg:"" optional:"" help:"The video, or a task of it."`
	AllDead bool   `help:"All videos that have dead tasks."`
}

// Run retries one video, or all that have dead tasks.
func (r queueRetryCommand) Run(ctx context.Context) error {
	if (r.ID == "") != r.AllDead {
		return errors.New("queue retry wants the id of a video or a task, or else --all-dead")
	}
	return withApp(ctx, func(a *app.App) error {
		if r.AllDead {
			return retryDead(ctx, a, os.Stdout)
		}
		return operate(ctx, os.Stdout, r.ID, a.Retry)
	})
}

// retryDead goes on where one video is refused, and says at the end how many were.
func retryDead(ctx context.Context, a *app.App, w io.Writer) error {
	ids, err := a.DeadVideos(ctx)
	if err != nil {
		return forPeople(err)
	}
	refused := 0
	for _, id := range ids {
		if err := operate(ctx, w, string(id), a.Retry); err != nil {
			fmt.Fprintln(os.Stderr, err)
			refused++
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d videos are not queued again", refused, len(ids))
	}
	_, err = fmt.Fprintf(w, "%d videos are queued again\n", len(ids))
	return err
}

type queueCancelCommand struct {
	ID string `arg:"" help:"The video, or a task of it."`
}

// Run cancels one video.
func (c queueCancelCommand) Run(ctx context.Context) error {
	return withApp(ctx, func(a *app.App) error { return operate(ctx, os.Stdout, c.ID, a.Cancel) })
}

// operate does something about the video that a person has named, and says what.
func operate(ctx context.Context, w io.Writer, name string, do func(context.Context, vault.VideoID) (string, error)) error {
	id, err := videoOf(name)
	if err != nil {
		return err
	}
	done, err := do(ctx, id)
	if err != nil {
		return forPeople(err)
	}
	_, err = fmt.Fprintf(w, "video %s: %s\n", id, done)
	return err
}

// videoOf is the video that is named by its id or by that of a task, such as piece:01890a5d-ac96-774b-bcce-b302099a8057:1:7.
func videoOf(name string) (vault.VideoID, error) {
	id := name
	if _, rest, ok := strings.Cut(name, ":"); ok {
		id, _, _ = strings.Cut(rest, ":")
	}
	video, err := vault.ParseVideoID(id)
	if err != nil {
		return "", fmt.Errorf("%q names neither a video nor a task of one: pulsevault queue lists them", name)
	}
	return video, nil
}

// forPeople leaves out what is said for programs only.
func forPeople(err error) error {
	var e *vault.Error
	if errors.As(err, &e) && e.Err == nil {
		return errors.New(e.Message)
	}
	return err
}

// withApp lends an App that only looks at things, beside the processes that serve and work.
func withApp(ctx context.Context, do func(*app.App) error) error { return lend(ctx, app.New, do) }

// lend opens something as the settings have it, hands it to do and closes it.
func lend[T io.Closer](ctx context.Context, open func(context.Context, app.Config, *slog.Logger) (T, error), do func(T) error) (err error) {
	c, log, err := configure()
	if err != nil {
		return err
	}
	lent, err := open(ctx, c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lent.Close()) }()
	return do(lent)
}
