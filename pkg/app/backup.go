package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pulsevault/pkg/audit"
	"pulsevault/pkg/backup"
	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/upload"
	"pulsevault/pkg/videos"
)

// errBackupInBucket says what to use where there are no directories.
var errBackupInBucket = errors.New("with STORAGE=s3 everything is in the bucket, which is backed up where it is: switch on its versioning, and replicate it " +
	"to a bucket of another account; this command copies directories only")

// BackupOptions say how a backup is taken.
type BackupOptions struct {
	Fresh bool // takes nothing from earlier snapshots
	Keep  int  // how many snapshots to keep, 0 for all
}

// folders is the store of a configuration.
func (c Config) folders() backup.Store {
	return backup.Store{Videos: c.VideoDir, Uploads: c.UploadDir, Pending: c.pendingDir(), Auth: c.authDir(), Audit: c.AuditDir}
}

// TakeBackup takes a snapshot of a store into a destination, beside the processes that serve and work, or without them. The audit
// log tells of it before the first byte is copied, and of its manifest once it is whole.
func TakeBackup(ctx context.Context, c Config, log *slog.Logger, destination string, o BackupOptions) (s backup.Snapshot, err error) {
	if c.InBucket {
		return s, errBackupInBucket
	}
	if _, err := os.Stat(c.VideoDir); err != nil {
		return s, fmt.Errorf("there is no store to back up: is MEDIA_ROOT right, or VIDEO_DIR? %w", err)
	}
	key, err := AuditKey(c)
	if err != nil {
		return s, err
	}
	a, err := openLog(ctx, c, log)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.recordBackup(ctx, "backup.began", map[string]any{"destination": destination}); err != nil {
		return s, err
	}
	if signable, ok := a.makesCheckpoints(); ok { // so that the copy, of a log that is young too, is vouched for
		if _, err := signable.Checkpoint(ctx, a.signer, audit.EveryMinute); err != nil {
			return s, err
		}
	}
	source := backup.Source{Store: c.folders(), Locks: a.media, Checksum: upload.Checksum, Undone: undone}
	s, err = source.Take(ctx, destination, backup.Options{Program: Version, AuditKey: key, Fresh: o.Fresh, Keep: o.Keep, Now: time.Now})
	if err != nil {
		return s, err
	}
	return s, a.recordBackup(ctx, "backup.made", map[string]any{"snapshot": s.Name, "manifest": s.Digest, "files": s.Files, "bytes": s.Bytes})
}

// openLog opens the audit log of a configuration, for commands that record what they do.
func openLog(ctx context.Context, c Config, log *slog.Logger) (*App, error) {
	a := &App{Log: log, Registry: prometheus.NewRegistry(), config: c}
	for _, step := range []func(context.Context) error{a.openStorage, a.findRedis, a.openAudit} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	return a, nil
}

func (a *App) recordBackup(ctx context.Context, action string, details map[string]any) error {
	if err := a.audit.Append(ctx, audit.Admin, audit.Event{Action: action, Details: details}); err != nil {
		return fmt.Errorf("the audit log does not tell of this backup (%s): %w", action, err)
	}
	return nil
}

// undone makes an intent of one that has been carried out: in a copy the video may still be there.
func undone(data []byte) ([]byte, error) {
	var in videos.Intent
	if err := json.Unmarshal(data, &in); err != nil || in.GoneAt.IsZero() {
		return data, nil //nolint:nilerr // what nobody understands is copied as it is
	}
	in.GoneAt = time.Time{}
	return json.Marshal(in)
}

// VerifyBackup verifies a snapshot, or the newest one of a destination, and the audit log in it, against the public keys that are
// given or else the one that the snapshot names.
func VerifyBackup(ctx context.Context, source string, keys []string, progress *audit.Progress) (s backup.Snapshot, found backup.Findings, log audit.Report, err error) {
	folder, err := backup.Find(source)
	if err != nil {
		return s, found, log, err
	}
	if s, found, err = backup.Verify(ctx, folder, upload.Checksum); err != nil {
		return s, found, log, err
	}
	if len(keys) == 0 && s.AuditKey != "" {
		keys = []string{s.AuditKey}
	}
	log, err = InspectAudit(ctx, filepath.Join(folder, "media", "audit"), keys, progress)
	return s, found, log, err
}

// RestoreBackup brings a snapshot, or the newest one of a destination, back into the folders of a configuration, which must be
// empty, and records that in the log that it has brought back. Nothing may be running on the folders, and the Redis that is
// configured must be empty: it would know a later state than the store's.
func RestoreBackup(ctx context.Context, c Config, log *slog.Logger, source string, partly bool) (s backup.Snapshot, found backup.Findings, err error) {
	if c.InBucket {
		return s, found, errBackupInBucket
	}
	folder, err := backup.Find(source)
	if err != nil {
		return s, found, err
	}
	if err := c.unused(ctx, log); err != nil {
		return s, found, err
	}
	t := backup.Target{Root: c.MediaRoot, Store: c.folders(), Checksum: upload.Checksum, Partly: partly, Record: func(ctx context.Context, s backup.Snapshot) (err error) {
		restored, err := audit.Open(audit.Config{Dir: c.AuditDir, FullIP: c.AuditFullIP, Logger: log})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, restored.Close()) }()
		return restored.Append(ctx, audit.Admin, audit.Event{Action: "backup.restored", Details: map[string]any{"snapshot": s.Name, "manifest": s.Digest, "began": s.Began}})
	}}
	return t.Restore(ctx, folder)
}

// unused reports what would know of another state than the one that is brought back.
func (c Config) unused(ctx context.Context, log *slog.Logger) error {
	opts := c.redis()
	if opts.Addr == "" {
		if _, err := redisdb.FindEmbedded(c.MediaRoot); err == nil {
			return fmt.Errorf("a server is running on %s: stop it first", c.MediaRoot)
		}
		return redisdb.Forget(c.MediaRoot)
	}
	client := redisdb.Open(opts)
	defer func() { _ = client.Close() }() // nothing was written
	switch keys, err := client.DBSize(ctx).Result(); {
	case err != nil:
		log.WarnContext(ctx, "Redis does not answer: see that it is empty before a server is started on what is restored", "addr", opts.Addr, "error", err)
	case keys > 0:
		return fmt.Errorf("the Redis at %s knows of a later state: stop all processes, and empty it with FLUSHDB", opts.Addr)
	}
	return nil
}

// wholeStore refuses a store of which a restore that was cut off has brought back a part.
func (c Config) wholeStore() error {
	name, err := backup.Unfinished(c.MediaRoot)
	if err == nil && name != "" {
		err = fmt.Errorf("MEDIA_ROOT %s holds a part of the snapshot %s only: run pulsevault restore again", c.MediaRoot, name)
	}
	return err
}
