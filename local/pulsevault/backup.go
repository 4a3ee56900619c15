package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"pulsevault/pkg/app"
	"pulsevault/pkg/audit"
	"pulsevault/pkg/backup"
)

type backupCommands struct {
	Take   takeCommand         `cmd:"" default:"withargs" help:"Take a snapshot: pulsevault backup FOLDER. The exit status is 1 if it failed, or found something damaged in the store."`
	Verify verifyBackupCommand `cmd:"" help:"Read a snapshot whole and check it; the exit status is 1 if anything is wrong."`
}

type takeCommand struct {
	Destination string `arg:"" help:"Folder of the snapshots, best on another disk. Each is a folder in it; files that an earlier one has are linked." placeholder:"FOLDER"`
	Keep        int    `help:"How many snapshots to keep: older ones are removed once this one is whole. 0 keeps all." default:"0" placeholder:"N"`
	Fresh       bool   `help:"Copy every file anew, as after a snapshot was found damaged."`
}

// Run takes a snapshot and says what is in it.
func (t takeCommand) Run(ctx context.Context) error {
	if t.Keep < 0 {
		return fmt.Errorf("--keep=%d: it must be 0, for all, or more", t.Keep)
	}
	c, log, err := configure()
	if err != nil {
		return err
	}
	s, err := app.TakeBackup(ctx, c, log, t.Destination, app.BackupOptions{Fresh: t.Fresh, Keep: t.Keep})
	if err != nil {
		return forPeople(err)
	}
	describe(s)
	fmt.Printf(`copied    %s, the rest is in an earlier snapshot
not in it .env, .audit-signing-key and .hmac-secret of MEDIA_ROOT: keep them elsewhere; it is not encrypted
`, byteCount(s.Copied))
	return tell(backup.Findings{Problems: s.Problems}, "the snapshot is whole, but something is wrong with the store")
}

type verifyBackupCommand struct {
	Source string   `arg:"" help:"A snapshot, or the folder of the snapshots, whose newest it is then." placeholder:"FOLDER"`
	Key    []string `help:"Public key that the audit log's checkpoints must be signed by; the one that the snapshot names, if none is given." placeholder:"PUBLIC"`
}

// Run verifies a snapshot.
func (v verifyBackupCommand) Run(ctx context.Context) error {
	var progress audit.Progress
	s, found, log, err := app.VerifyBackup(ctx, v.Source, v.Key, &progress)
	if err != nil {
		return err
	}
	describe(s)
	if _, err := log.WriteTo(os.Stdout); err != nil {
		return err
	}
	if err := tell(found, "the snapshot is not what was written: take another with --fresh"); err != nil {
		return err
	}
	if !log.OK() {
		return errors.New("the audit log in the snapshot is not what was written")
	}
	return nil
}

type restoreCommand struct {
	Source string `arg:"" help:"A snapshot, or the folder of the snapshots, whose newest is taken then." placeholder:"FOLDER"`
	Partly bool   `help:"Be content with what is whole of a damaged snapshot."`
}

// Run brings a snapshot back into the folders of the settings.
func (r restoreCommand) Run(ctx context.Context) error {
	c, log, err := configure()
	if err != nil {
		return err
	}
	s, found, err := app.RestoreBackup(ctx, c, log, r.Source, r.Partly)
	if err != nil {
		return err
	}
	describe(s)
	if err := tell(found, "something of the snapshot is damaged: restore another, or say --partly to be content with the rest"); err != nil && !r.Partly {
		return err
	}
	fmt.Printf(`restored  into %s; everything was read back
next      put back .env, and .audit-signing-key of MEDIA_ROOT if AUDIT_SIGNING_KEY is not set; start a server: it makes the rest anew
`, c.MediaRoot)
	return nil
}

func describe(s backup.Snapshot) {
	fmt.Printf(`snapshot  %s
holds     %d videos, %d records of uploads, %d files, %s
manifest  SHA-256 %s
`, s.Folder, s.Videos, s.Uploads, s.Files, byteCount(s.Bytes), s.Digest)
}

// tell lists what is wrong, and is an error that says so if anything is.
func tell(f backup.Findings, what string) error {
	for _, p := range f.Problems {
		fmt.Println("BAD      ", p)
	}
	if f.More > 0 {
		fmt.Printf("BAD       and %d more\n", f.More)
	}
	if len(f.Problems) > 0 {
		return errors.New(what)
	}
	return nil
}

func byteCount(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
