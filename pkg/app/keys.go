package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/auth"
	"pulsevault/pkg/media"
	"pulsevault/pkg/redisdb"
)

func (a *App) keyring() *auth.Keyring {
	return &auth.Keyring{Store: a.media, File: media.KeysKey, Now: time.Now, Log: a.Log}
}

// Keys are the API keys of an installation, for its operators. Nothing needs to be running.
type Keys struct {
	app  *App
	ring *auth.Keyring
}

// OpenKeys opens the file of keys, and the audit log, in which every change of it stands. Close gives back what it holds.
func OpenKeys(ctx context.Context, c Config, log *slog.Logger) (*Keys, error) {
	a, err := openLog(ctx, c, log)
	if err != nil {
		return nil, err
	}
	return &Keys{a, a.keyring()}, nil
}

// findRedis opens the Redis that is configured, or the embedded one where it runs. It keeps heads of the audit log; without
// it they are kept beside the log only.
func (a *App) findRedis(context.Context) error {
	opts := a.config.redis()
	if opts.Addr == "" {
		found, err := redisdb.FindEmbedded(a.config.MediaRoot)
		if err != nil {
			return nil //nolint:nilerr // it runs beside a server only
		}
		opts = found
	}
	a.redis = redisdb.Open(opts)
	return nil
}

// Close gives everything back.
func (k *Keys) Close() error { return k.app.Close() }

// List returns all keys, also those that are good for nothing any more.
func (k *Keys) List(ctx context.Context) ([]auth.Key, error) { return k.ring.List(ctx) }

// Create makes a key and returns it, this once. It is in the audit log before it is good for anything.
func (k *Keys) Create(ctx context.Context, name string, roles []auth.Role, expires time.Time) (shown string, _ auth.Key, err error) {
	return k.ring.Create(ctx, name, roles, expires, func(key auth.Key) error {
		return k.app.audit.Append(ctx, audit.Auth, keyEvent("key.created", key))
	})
}

// Revoke ends a key. That is done even where it cannot be recorded, which is an error.
func (k *Keys) Revoke(ctx context.Context, id string) (auth.Key, error) {
	key, err := k.ring.Revoke(ctx, id)
	if err != nil {
		return key, err
	}
	if err := k.app.audit.Append(ctx, audit.Auth, keyEvent("key.revoked", key)); err != nil {
		return key, fmt.Errorf("the key %s is revoked, but that is not in the audit log: %w", id, err)
	}
	return key, nil
}

func keyEvent(action string, key auth.Key) audit.Event {
	details := map[string]any{"keyId": key.ID, "roles": key.Roles, "by": "command"}
	if !key.ExpiresAt.IsZero() {
		details["expiresAt"] = key.ExpiresAt
	}
	return audit.Event{Action: action, UserID: key.Name, Details: details}
}
