package local_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A machine that will not do is told why, before anything is written or started.
func TestSetupLooksAtTheMachine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, tc := range map[string]struct{ engine, with, settings, least, says string }{
		"as it should be":        {says: "ports       nginx 1, nginx 2, "},
		"an old engine":          {engine: "28.0.0", with: "20.9.3", says: "Docker is 20.9.3: it must be 20.10 or newer"},
		"an old Compose":         {engine: "2.40.0", with: "2.19.1", says: "Compose is 2.19.1: it must be 2.20 or newer"},
		"an engine that is away": {engine: "echo 28.0.0", with: "exit 1", says: "docker does not answer"},
		"hardly any disk":        {engine: "/nowhere", with: "/", least: "9999999", says: "9999999 are needed"},
		"a port that is taken":   {settings: "\nHTTPS_PORT=" + port + "\n", says: "something listens on port " + port + " already"},
	} {
		t.Run(name, func(t *testing.T) {
			b := unpacked(t)
			docker := dockers
			if tc.engine != "" {
				docker = strings.Replace(dockers, tc.engine, tc.with, 1)
			}
			if err := os.WriteFile(filepath.Join(b.dir, "bin/docker"), []byte(docker), 0o700); err != nil {
				t.Fatal(err)
			}
			env := filepath.Join(b.dir, ".env")
			before, err := os.ReadFile(env)
			if err != nil {
				t.Fatal(err)
			}
			before = append(before, tc.settings...)
			if err := os.WriteFile(env, before, 0o600); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), "bash", filepath.Join(b.dir, "local/setup.sh"), "--check")
			command.Env = append(os.Environ(), "PATH="+filepath.Join(b.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"), "LOG="+b.log, "MIN_DISK_GIB="+tc.least)
			out, err := command.CombinedOutput()
			if good := name == "as it should be"; (err == nil) != good || !strings.Contains(string(out), tc.says) {
				t.Errorf("%v: %s", err, out)
			}
			asked, _ := os.ReadFile(b.log)
			after, err := os.ReadFile(env)
			if err != nil || string(after) != string(before) || regexp.MustCompile(`(?m)^(compose up|load|network create)`).Match(asked) {
				t.Errorf("%v; it asked for %s, and .env is\n%s", err, asked, after)
			}
		})
	}
}

// Where no network is free, setup ends, and starts nothing on one that others use.
func TestSetupWantsANetworkOfItsOwn(t *testing.T) {
	b := unpacked(t)
	for name, change := range map[string][2]string{"bin/docker": {"load*)", "\"network create\"*) exit 1 ;;\nload*)"}, ".env": {"FRONT_NETWORK=172.30.61", "FRONT_NETWORK="}} {
		path := filepath.Join(b.dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if said, asked := b.setup(t); !strings.Contains(said, "set FRONT_NETWORK in .env") || strings.Contains(asked, "compose up") {
		t.Errorf("it said:\n%s\nand asked for:\n%s", said, asked)
	}
}

// Where everybody is in one group, who sets PulseVault up is told that everybody may read its secrets.
func TestSetupTellsWhoMayReadTheSecrets(t *testing.T) {
	for group, told := range map[string]bool{"users": true, "alice": false} {
		b := unpacked(t)
		id := fmt.Sprintf("#!/bin/sh\ncase $1 in -u) echo 1000 ;; -g) echo %d ;; -un) echo alice ;; -gn) echo %s ;; esac\n", os.Getgid(), group)
		if err := os.WriteFile(filepath.Join(b.dir, "bin/id"), []byte(id), 0o700); err != nil {
			t.Fatal(err)
		}
		if said, _ := b.setup(t); strings.Contains(said, "in the group users may read the secrets") != told || !strings.Contains(said, "settings    .env") {
			t.Errorf("in the group %s it says\n%s", group, said)
		}
	}
}

// The images are made of pinned ones. Those that run in the stack end as a user of no rights and say what they are, the binary is
// stripped, and ffmpeg is the distribution's.
func TestImagesArePinnedAndOfNoRoot(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	from, does := map[string]string{}, map[string]string{}
	for _, stage := range strings.Split("\n"+string(text), "\nFROM ")[1:] {
		head, body, _ := strings.Cut(stage, "\n")
		of, name, _ := strings.Cut(head, " AS ")
		from[name], does[name] = of, body
	}
	for name, of := range from {
		if _, ours := from[of]; !ours && !regexp.MustCompile(`^\w+:\d+\.\d+`).MatchString(of) {
			t.Errorf("%s is made of %s, which is not pinned", name, of)
		}
	}
	for name, of := range map[string]string{"server": "base", "worker": "ffmpeg"} {
		if from[name] != of {
			t.Errorf("%s is made of %q", name, from[name])
		}
		for _, has := range []string{"USER 10001:10001\n", `ENTRYPOINT ["pulsevault"]`, "LABEL org.opencontainers.image.title=", "org.opencontainers.image.version="} {
			if !strings.Contains(does[name], has) {
				t.Errorf("%s has no %s", name, has)
			}
		}
	}
	if from["ffmpeg"] != "base" || !strings.Contains(does["ffmpeg"], "apt-get install -y --no-install-recommends ffmpeg") || !strings.Contains(does["build"], `STAMP="-s -w `) {
		t.Errorf("ffmpeg: %s, build: %s", does["ffmpeg"], does["build"])
	}
}
