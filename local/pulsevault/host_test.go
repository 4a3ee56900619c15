package main_test

import (
	"os/exec"
	"strings"
	"testing"

	"pulsevault/pkg/media/mediatest"
	"pulsevault/pkg/redisdb/redistest"
)

// host is a way to answer HTTP. The same scenarios hold for each.
type host struct {
	name, command string
	inBucket      bool // what is kept is in a bucket, and not in a directory
}

var hosts = []host{{"server", "serve", false}, {"functions", "emulate", false}, {"functions and bucket", "emulate", true}}

// place is where a host keeps everything from one start to the next.
type place struct {
	t        *testing.T
	host     host
	root     string   // MEDIA_ROOT
	kept     string   // a folder with what is kept, each file under its key
	settings []string // as NAME=value
}

// onEachHost runs a scenario with every host. place makes a new one.
func onEachHost(t *testing.T, scenario func(t *testing.T, place func(t *testing.T) place)) {
	t.Helper()
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			if !h.inBucket {
				scenario(t, func(t *testing.T) place {
					root := t.TempDir()
					return place{t: t, host: h, root: root, kept: root}
				})
				return
			}
			server := mediatest.StartS3(t)
			scenario(t, func(t *testing.T) place {
				root := t.TempDir()
				bucket := server.Another(t, "pulsevault-"+mediatest.RandomName())
				return place{t: t, host: h, root: root, kept: bucket.Folder(), settings: append(bucket.Settings(), redisSettings(t)...)}
			})
		})
	}
}

// redisSettings starts a Redis of the test's own.
func redisSettings(t *testing.T) []string {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("NOT TESTED: no redis-server here, which several hosts need: make deps-test installs it")
	}
	o := redistest.Start(t).Options()
	name, port, _ := strings.Cut(o.Addr, ":")
	return []string{"REDIS_HOST=" + name, "REDIS_PORT=" + port, "REDIS_PASSWORD=" + o.Password}
}

// start starts the host, with further settings.
func (p place) start(settings ...string) *process {
	p.t.Helper()
	return start(p.t, p.host.command, p.root, append(settings, p.settings...)...)
}

func (p place) verifyAudit() {
	p.t.Helper()
	verifyAudit(p.t, p.root, p.settings...)
}
