package local_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A bundle has every file that docker-compose.yml mounts, and every script that one of its scripts calls.
func TestBundleIsComplete(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "bash", "bundle.sh", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	within := map[string]bool{}
	for _, file := range strings.Fields(string(out)) {
		within[file] = true
	}
	for _, source := range mounts(t) {
		for _, file := range filesUnder(t, source) {
			if !within[file] {
				t.Errorf("docker-compose.yml mounts %s, and the bundle has no %s", source, file)
			}
		}
	}
	for file := range within {
		if !strings.HasSuffix(file, ".sh") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, called := range regexp.MustCompile(`(?m)^[^#\n]*\b(local/[a-z-]+\.sh)`).FindAllStringSubmatch(string(text), -1) {
			if !within[called[1]] {
				t.Errorf("%s calls %s, and the bundle has none", file, called[1])
			}
		}
	}
	for _, file := range []string{".env", ".env.example", "docker-compose.yml", "docs/operations.md"} {
		if want := file != ".env"; within[file] != want {
			t.Errorf("the bundle has %s: %v", file, within[file])
		}
	}
}

// volume is one of a service's, in the short form or the long one. What setup.sh makes itself is named by a setting.
type volume struct{ source string }

func (v *volume) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		v.source, _, _ = strings.Cut(node.Value, ":")
		return nil
	}
	var long struct{ Source string }
	err := node.Decode(&long)
	v.source = long.Source
	return err
}

// mounts are the files and folders beside docker-compose.yml that it mounts.
func mounts(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct{ Volumes []volume }
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	var sources []string
	for _, service := range compose.Services {
		for _, volume := range service.Volumes {
			if source, ok := strings.CutPrefix(volume.source, "./"); ok {
				sources = append(sources, source)
			}
		}
	}
	if len(sources) == 0 {
		t.Fatal("docker-compose.yml mounts nothing that is beside it")
	}
	return sources
}

func filesUnder(t *testing.T, source string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join("..", source), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(filepath.ToSlash(path), "../"))
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v %v", source, files, err)
	}
	return files
}

// dockers is an engine that has no images before it has loaded some, and writes down what it was asked for.
const dockers = `#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
"version --format {{.Server.Version}}") echo 28.0.0 ;;
"version --format {{.Server.Arch}}") echo amd64 ;;
"compose version --short") echo 2.40.0 ;;
"info --format {{.DockerRootDir}}") echo /nowhere ;;
"image inspect"*) [ -f "$LOG.loaded" ] ;;
load*) : >"$LOG.loaded" ;;
"compose config --services") printf 'pulsevault\ngrafana\n' ;;
"compose up"*) echo "VERSION ${VERSION-as in .env}" >>"$LOG"; exit 1 ;;
"info --format {{.NCPU}}") echo 2 ;;
esac
`

// bundle is a folder that a bundle was unpacked into, on a machine with that engine.
type bundle struct{ dir, log string }

func unpacked(t *testing.T) bundle {
	t.Helper()
	for _, tool := range []string{"bash", "sha256sum", "openssl", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: there is no %s here", tool)
		}
	}
	b := bundle{dir: t.TempDir()}
	b.log = filepath.Join(b.dir, "log")
	// Free ports: no service of this machine is in the way.
	settings := "SERVER_NAME=pulsevault.test\nFRONT_NETWORK=172.30.61\nHTTP_PORT=1\nHTTPS_PORT=2\nPORT=3\nREDIS_ADMIN_PORT=4\nPROMETHEUS_PORT=5\nGRAFANA_PORT=6\nLOKI_PORT=7\nTLS_GID=" + fmt.Sprint(os.Getgid()) + "\n"
	files := map[string]string{
		"bin/docker": dockers, "images.tar": "images", ".env": settings, ".env.example": settings,
		"BUNDLE": "VERSION=1.2\nARCHITECTURE=amd64\nWITHOUT=grafana alloy\nIMAGE=pulsevault-server:1.2\nIMAGE=redis:8\n",
	}
	for _, script := range []string{"setup.sh", "env.sh"} {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		files["local/"+script] = string(text)
	}
	for name, text := range files {
		path := filepath.Join(b.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	sums := exec.CommandContext(t.Context(), "bash", "-c", "sha256sum images.tar BUNDLE local/setup.sh local/env.sh .env.example >SHA256SUMS")
	sums.Dir = b.dir
	if out, err := sums.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return b
}

// setup runs setup.sh there, and returns what it said and what the engine was asked for.
func (b bundle) setup(t *testing.T) (said, asked string) {
	t.Helper()
	if err := os.WriteFile(b.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "bash", filepath.Join(b.dir, "local/setup.sh"))
	command.Env = append(os.Environ(), "PATH="+filepath.Join(b.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"), "LOG="+b.log, "VERSION=other", "SKIP_SERVICES=", "COMPOSE_PROJECT_NAME=")
	out, err := command.CombinedOutput()
	if err == nil {
		t.Error("the engine starts nothing, and setup.sh is content")
	}
	log, err := os.ReadFile(b.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), string(log)
}

// What a bundle brought is loaded once, and then started as it is, but for what was left out.
func TestSetupLoadsABundle(t *testing.T) {
	b := unpacked(t)
	for first := true; ; first = false {
		said, asked := b.setup(t)
		if strings.Contains(asked, "load --quiet --input images.tar") != first {
			t.Errorf("first %v: the images were loaded wrongly:\n%s\n%s", first, said, asked)
		}
		up := regexp.MustCompile(`(?m)^compose up .*`).FindString(asked)
		if !strings.Contains(up, "--no-build --pull never") || strings.Contains(up, " --build") || !strings.HasSuffix(up, " pulsevault") {
			t.Errorf("it was started by %q:\n%s", up, said)
		}
		if !strings.Contains(asked, "VERSION as in .env") {
			t.Errorf("compose was told another version than .env has:\n%s", asked)
		}
		if !first {
			break
		}
		// An administrator's own change, which is nobody's damage.
		if err := os.WriteFile(filepath.Join(b.dir, ".env.example"), []byte("# changed\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env, err := os.ReadFile(filepath.Join(b.dir, ".env"))
	if err != nil || !strings.Contains(string(env), "VERSION=1.2\n") {
		t.Errorf("the version is not the bundle's: %v\n%s", err, env)
	}
}

// A bundle that is damaged, or for another processor, is not loaded.
func TestSetupRefusesADamagedBundle(t *testing.T) {
	for name, damage := range map[string]struct{ file, text, says string }{
		"an image":          {"images.tar", "imagez", "images.tar: FAILED"},
		"another processor": {"BUNDLE", "ARCHITECTURE=arm64\n", "this bundle is for arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			b := unpacked(t)
			if err := os.WriteFile(filepath.Join(b.dir, damage.file), []byte(damage.text), 0o600); err != nil {
				t.Fatal(err)
			}
			said, asked := b.setup(t)
			if !strings.Contains(said, damage.says) || strings.Contains(asked, "load") || strings.Contains(asked, "compose up") {
				t.Errorf("it said:\n%s\nand asked for:\n%s", said, asked)
			}
		})
	}
}
