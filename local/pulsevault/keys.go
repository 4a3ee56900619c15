package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pulsevault/pkg/app"
	"pulsevault/pkg/auth"
)

type keysCommands struct {
	Create keysCreateCommand `cmd:"" help:"Make an API key and print it, this once: only its hash is kept."`
	List   keysListCommand   `cmd:"" help:"List all keys, without what opens anything."`
	Revoke keysRevokeCommand `cmd:"" help:"End a key, and the links that were signed with it, everywhere within a second."`
}

type keysCreateCommand struct {
	Name    string   `required:"" help:"Who will use the key: the userId of everything that is done with it."`
	Role    []string `required:"" enum:"uploader,viewer,service,admin" help:"What the key may do: uploader, viewer, service or admin. May be given more than once."`
	Expires string   `help:"For how long the key is good, such as 90d or 12h. Without it, until it is revoked."`
	JSON    bool     `name:"json" help:"Print the key as JSON."`
}

// keyLine is a key as it is printed: without its hash.
type keyLine struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Roles     []auth.Role `json:"roles"`
	State     string      `json:"state"`
	CreatedAt time.Time   `json:"createdAt"`
	ExpiresAt time.Time   `json:"expiresAt,omitzero"`
	RevokedAt time.Time   `json:"revokedAt,omitzero"`
	Key       string      `json:"key,omitempty"` // of one that was just made
}

func lineOf(k auth.Key, shown string) keyLine {
	return keyLine{k.ID, k.Name, k.Roles, k.State(time.Now()), k.CreatedAt, k.ExpiresAt, k.RevokedAt, shown}
}

// Run makes a key. The key is all that goes to standard output, so that it can be put where it is wanted without being seen.
func (c keysCreateCommand) Run(ctx context.Context) error {
	expires, err := expiry(c.Expires, time.Now())
	if err != nil {
		return err
	}
	roles := make([]auth.Role, len(c.Role))
	for i, r := range c.Role {
		roles[i] = auth.Role(r)
	}
	return withKeys(ctx, func(keys *app.Keys) error {
		shown, key, err := keys.Create(ctx, c.Name, roles, expires)
		if err != nil {
			return forPeople(err)
		}
		if c.JSON {
			return json.NewEncoder(os.Stdout).Encode(lineOf(key, shown))
		}
		fmt.Fprintf(os.Stderr, "key %s for %q: keep it well, it is not shown again\n", key.ID, key.Name)
		_, err = fmt.Println(shown)
		return err
	})
}

// expiry is when a key ends that is good for a time, which is given in days or as Go writes it; zero if none is given.
func expiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int64
		n, err = strconv.ParseInt(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d > 100*365*24*time.Hour {
		return time.Time{}, fmt.Errorf("--expires=%s: it must be a time such as 90d or 12h, of a second at least", s)
	}
	return now.Add(d).UTC().Truncate(time.Second), nil
}

type keysListCommand struct {
	JSON bool `name:"json" help:"Print the list as JSON."`
}

// Run lists the keys.
func (l keysListCommand) Run(ctx context.Context) error {
	return withKeys(ctx, func(keys *app.Keys) error {
		list, err := keys.List(ctx)
		if err != nil {
			return forPeople(err)
		}
		lines := make([]keyLine, len(list))
		for i, k := range list {
			lines[i] = lineOf(k, "")
		}
		if l.JSON {
			return json.NewEncoder(os.Stdout).Encode(lines)
		}
		return writeKeys(os.Stdout, lines)
	})
}

func writeKeys(w io.Writer, lines []keyLine) error {
	if len(lines) == 0 {
		_, err := fmt.Fprintln(w, "there are no keys: pulsevault keys create makes one")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ID\tNAME\tROLES\tSTATE\tCREATED\tEXPIRES")
	for _, k := range lines {
		roles := make([]string, len(k.Roles))
		for i, r := range k.Roles {
			roles[i] = string(r)
		}
		expires := "never"
		if !k.ExpiresAt.IsZero() {
			expires = k.ExpiresAt.Format(time.DateOnly)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, strings.Join(roles, ","), k.State, k.CreatedAt.Format(time.DateOnly), expires)
	}
	return t.Flush()
}

type keysRevokeCommand struct {
	ID string `arg:"" help:"The key's id, as keys list has it. It is the part between the first two underscores of the key."`
}

// Run revokes a key.
func (c keysRevokeCommand) Run(ctx context.Context) error {
	return withKeys(ctx, func(keys *app.Keys) error {
		key, err := keys.Revoke(ctx, c.ID)
		if err != nil {
			return forPeople(err)
		}
		_, err = fmt.Printf("key %s of %q is revoked\n", key.ID, key.Name)
		return err
	})
}

func withKeys(ctx context.Context, do func(*app.Keys) error) error {
	return lend(ctx, app.OpenKeys, do)
}
