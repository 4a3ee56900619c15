package local_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a PATH of which nothing is real but a few tools: package managers that write down how they were called, and
// then have what they were asked for, unless they fail.
type machine struct {
	t   *testing.T
	bin string
	log string
}

func newMachine(t *testing.T, uid string, programs ...string) machine {
	t.Helper()
	dir := t.TempDir()
	m := machine{t, filepath.Join(dir, "bin"), filepath.Join(dir, "log")}
	if err := errors.Join(os.Mkdir(m.bin, 0o700), os.WriteFile(m.log, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "make", "awk", "env", "grep", "sed", "sort", "tr", "cat", "cp", "chmod"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("NOT TESTED: there is no %s here", tool)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	m.add("id", "echo "+uid)
	m.add("go", `case "$*" in "env GOVERSION") echo go1.26.0 ;; "env CC") echo gcc ;; esac`)
	for _, p := range programs {
		m.add(p, fakes[p])
	}
	return m
}

const (
	// install leaves what the fakes of packages hold: an ffmpeg that can encode, and the rest.
	install  = `for p in ffmpeg ffprobe redis-server curl gcc; do case "$*" in *install*|*add*|*-S*) printf '#!/bin/sh\necho libx264\n' >BIN/$p; chmod +x BIN/$p ;; esac; done`
	write    = `echo "NAME $*" >>LOG`
	fusion   = `case "$*" in *repolist*) echo "rpmfusion-free  RPM Fusion"; exit ;; esac` + "\n" + write + "\n" + install
	noFusion = `case "$*" in *repolist*) echo "fedora  Fedora"; exit ;; esac` + "\n" + write + "\nfor p in redis-server curl gcc; do cp BIN/id BIN/$p; done"
)

var fakes = map[string]string{
	"apt-get": write + "\n" + install, "apk": write + "\n" + install, "pacman": write + "\n" + install, "brew": write + "\n" + install,
	"dnf":  fusion,
	"sudo": write + "\n" + `[ "$1" != -n ] || shift; "$@"`,
	"doas": write + "\n" + `[ "$1" != -n ] || shift; "$@"`,
}

// add puts a program of a few lines of shell on the machine.
func (m machine) add(name, script string) {
	m.t.Helper()
	script = strings.NewReplacer("NAME", name, "LOG", m.log, "BIN", m.bin).Replace(script)
	if err := os.WriteFile(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

// run runs a command in the repository with nothing but what is on the machine. It returns what was said, what the
// managers were called with, and whether it went well.
func (m machine) run(args ...string) (said, called string, ok bool) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), filepath.Join(m.bin, args[0]), args[1:]...)
	cmd.Dir, cmd.Env = "..", []string{"PATH=" + m.bin}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	log, readErr := os.ReadFile(m.log)
	if readErr != nil {
		m.t.Fatal(readErr)
	}
	return string(out), string(log), err == nil
}

var everything = []string{"go", "ffmpeg", "ffprobe", "redis-server", "curl", "cc"}

func TestDepsInstalls(t *testing.T) {
	for name, tc := range map[string]struct {
		uid      string
		programs []string
		want     []string // the commands, without who runs them
		as       string   // who does, in front
	}{
		"apt": {"1000", []string{"apt-get", "sudo"}, []string{
			"apt-get -q -y update",
			"env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install curl ffmpeg gcc libc6-dev redis-server",
		}, "sudo"},
		"dnf":    {"1000", []string{"dnf", "sudo"}, []string{"dnf -q -y --setopt=install_weak_deps=False install /usr/bin/redis-server curl ffmpeg gcc"}, "sudo"},
		"apk":    {"1000", []string{"apk", "doas"}, []string{"apk add --no-cache build-base cmd:redis-server curl ffmpeg"}, "doas"},
		"pacman": {"0", []string{"pacman", "sudo"}, []string{"pacman -S --needed --noconfirm curl ffmpeg gcc valkey"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, tc.uid, tc.programs...)
			said, called, ok := m.run(append([]string{"sh", "local/deps.sh", "-n"}, everything...)...)
			want := ""
			for _, step := range tc.want {
				want += "would run: " + strings.TrimSpace(tc.as+" "+step) + "\n"
			}
			if !ok || said != want || called != "" {
				t.Fatalf("with -n it says, ok %v:\n%swant:\n%sand it has called %q", ok, said, want, called)
			}
			said, called, ok = m.run(append([]string{"sh", "local/deps.sh"}, everything...)...)
			for _, step := range tc.want {
				if tc.as != "" && !strings.Contains(called, tc.as+" -n "+step+"\n") { // nobody is there to type a password
					t.Errorf("it has called\n%s, which lacks %s -n %s", called, tc.as, step)
				}
				if plain := strings.TrimPrefix(step, "env DEBIAN_FRONTEND=noninteractive "); !strings.Contains("\n"+called, "\n"+plain+"\n") {
					t.Errorf("it has called\n%s, which lacks %s", called, plain)
				}
			}
			if !ok || tc.as == "" && strings.Contains(called, "sudo") {
				t.Errorf("ok %v, called\n%s, said\n%s", ok, called, said)
			}
			before := called
			if said, called, ok = m.run(append([]string{"sh", "local/deps.sh"}, everything...)...); !ok || said != "" || called != before {
				t.Errorf("with everything there it says %q and calls %q", said, strings.TrimPrefix(called, before))
			}
		})
	}
}

// A compiler is not brew's to install.
func TestDepsInstallsByBrew(t *testing.T) {
	m := newMachine(t, "1000", "brew", "sudo")
	said, called, ok := m.run("sh", "local/deps.sh", "ffmpeg", "ffprobe", "redis-server")
	if !ok || called != "brew install -q ffmpeg redis\n" {
		t.Errorf("ok %v, called %q, said\n%s", ok, called, said)
	}
	m = newMachine(t, "1000")
	m.add("brew", write)
	said, _, ok = m.run("sh", "local/deps.sh", "cc")
	if ok || !strings.Contains(said, "Missing: cc\n") || !strings.Contains(said, "xcode-select --install") {
		t.Errorf("ok %v, said\n%s", ok, said)
	}
}

// Fedora's own ffmpeg cannot encode H.264. It is not installed, and people are told where the other one is.
func TestDepsWithoutRPMFusion(t *testing.T) {
	m := newMachine(t, "0")
	m.add("dnf", noFusion)
	said, called, ok := m.run(append([]string{"sh", "local/deps.sh", "-n"}, everything...)...)
	if !ok || called != "" || !strings.Contains(said, "would run: dnf -q -y --setopt=install_weak_deps=False install /usr/bin/redis-server curl gcc\n") ||
		!strings.Contains(said, "Missing: ffmpeg ffprobe\n") || !strings.Contains(said, "rpmfusion-free-release-$(rpm -E %fedora).noarch.rpm") {
		t.Errorf("with -n: ok %v, called %q, said\n%s", ok, called, said)
	}
	said, called, ok = m.run(append([]string{"sh", "local/deps.sh"}, everything...)...)
	if ok || called != "dnf -q -y --setopt=install_weak_deps=False install /usr/bin/redis-server curl gcc\n" ||
		!strings.Contains(said, "Missing: ffmpeg ffprobe\n") || !strings.Contains(said, "ffmpeg-free lacks. RPM Fusion has it: dnf install https://") {
		t.Errorf("ok %v, called %q, said\n%s", ok, called, said)
	}
	m.add("ffmpeg", "echo libopenh264")
	m.add("ffprobe", "")
	said, _, ok = m.run("sh", "local/deps.sh", "ffmpeg", "ffprobe")
	if ok || !strings.Contains(said, "has no libx264 encoder") || !strings.Contains(said, "dnf swap ffmpeg-free ffmpeg --allowerasing") {
		t.Errorf("with ffmpeg-free: ok %v, said\n%s", ok, said)
	}
}

func TestDepsSaysWhatItCannotDo(t *testing.T) {
	for name, tc := range map[string]struct {
		uid  string
		add  map[string]string
		args []string
		want []string
	}{
		"no root": {"1000", map[string]string{"apk": write}, []string{"ffmpeg", "curl"}, []string{
			"neither sudo nor doas", "\n  apk add --no-cache curl ffmpeg\n", "Missing: ffmpeg curl\n",
		}},
		"no manager":             {"1000", nil, []string{"ffmpeg", "redis-server"}, []string{"Missing: ffmpeg redis-server\n", "pacman -S valkey", "dnf install /usr/bin/redis-server"}},
		"a manager that fails":   {"0", map[string]string{"pacman": write + "; exit 1"}, []string{"ffmpeg"}, []string{"installing ffmpeg (pacman)", "Missing: ffmpeg\n"}},
		"no Go":                  {"0", map[string]string{"go": "exit 1", "apk": write}, []string{"go"}, []string{"Missing: go\n", "https://go.dev/dl"}},
		"an old Go":              {"0", map[string]string{"go": "echo go1.19.2"}, []string{"go"}, []string{"Missing: go\n"}},
		"an ffmpeg that is bare": {"0", map[string]string{"ffmpeg": "echo mpeg4"}, []string{"ffmpeg"}, []string{"has no libx264 encoder"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, tc.uid)
			for program, script := range tc.add {
				m.add(program, script)
			}
			said, _, ok := m.run(append([]string{"sh", "local/deps.sh"}, tc.args...)...)
			for _, want := range tc.want {
				if ok || !strings.Contains(said, want) {
					t.Errorf("ok %v, said\n%s, which lacks %q", ok, said, want)
				}
			}
		})
	}
}

// make passes -n on, and nothing is installed.
func TestMakeSaysWhatDepsWouldDo(t *testing.T) {
	m := newMachine(t, "1000", "apk", "sudo")
	for _, flags := range [][]string{{"-n"}, {"--dry-run", "VERSION=1"}, {"-s", "-n"}, {"-q"}} {
		said, called, _ := m.run(append(append([]string{"make"}, flags...), "deps")...)
		if called != "" || !strings.Contains(said, "would run: sudo apk add --no-cache ffmpeg\n") {
			t.Errorf("make %v: called %q, said\n%s", flags, called, said)
		}
	}
	said, called, ok := m.run("make", "VERSION=not-a-number-nqt", "deps")
	if !ok || !strings.Contains(called, "apk add --no-cache ffmpeg\n") {
		t.Errorf("make: ok %v, called %q, said\n%s", ok, called, said)
	}
}
