package local_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rotating is an engine with one container, which has the files of secrets as they are here.
const rotating = `#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
"compose ps --quiet --status running "*) echo container ;;
"exec container cat /run/pulsevault/"*) cat "secrets/${4#/run/pulsevault/}" ;;
*" PING") echo PONG ;;
*" ACL "*) echo OK ;;
esac
`

// installed is a folder in which the stack is set up and runs.
type installed struct {
	t        *testing.T
	dir, log string
}

func newInstalled(t *testing.T, settings ...string) installed {
	t.Helper()
	for _, tool := range []string{"bash", "openssl", "cmp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED: there is no %s here", tool)
		}
	}
	i := installed{t: t, dir: t.TempDir()}
	i.log = filepath.Join(i.dir, "log")
	gid, err := exec.Command("id", "-g").Output()
	if err != nil {
		t.Fatal(err)
	}
	i.write("docker", rotating)
	i.write(".env", strings.Join(append(settings, "REDIS_PASSWORD="+redisBefore, "SECRETS_GID="+string(gid)), "\n"))
	if err := os.Chmod(filepath.Join(i.dir, ".env"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"rotate.sh", "env.sh"} {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		i.write("local/"+script, string(text))
	}
	return i
}

var (
	first       = strings.Repeat("1", 64)
	second      = strings.Repeat("2", 64)
	redisBefore = strings.Repeat("3", 64)
)

func (i installed) write(name, text string) {
	i.t.Helper()
	path := filepath.Join(i.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		i.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		i.t.Fatal(err)
	}
}

func (i installed) read(name string) string {
	i.t.Helper()
	text, err := os.ReadFile(filepath.Join(i.dir, name))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

func (i installed) setting(name string) string {
	i.t.Helper()
	found := regexp.MustCompile(`(?m)^`+name+`=(.*)$`).FindAllStringSubmatch(i.read(".env"), -1)
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1][1]
}

// rotate runs rotate.sh, and looks that no secret of before or after was among the arguments of the engine.
func (i installed) rotate(args ...string) (said string, err error) {
	i.t.Helper()
	secrets := i.secrets()
	command := exec.CommandContext(i.t.Context(), "bash", append([]string{filepath.Join(i.dir, "local/rotate.sh")}, args...)...)
	command.Env = append(os.Environ(), "PATH="+i.dir+string(os.PathListSeparator)+os.Getenv("PATH"), "LOG="+i.log, "SETTLE=0")
	out, err := command.CombinedOutput()
	log := i.read("log")
	for _, secret := range append(secrets, i.secrets()...) {
		if strings.Contains(log, secret) || strings.Contains(string(out), secret) {
			i.t.Errorf("the secret %s is shown:\n%s\n%s", secret, log, out)
		}
	}
	if err != nil {
		return string(out), err
	}
	for name, mode := range map[string]os.FileMode{".env": 0o600, "secrets": 0o750, "secrets/hmac": 0o640, "secrets/redis": 0o750, "secrets/redis/password": 0o640} {
		if info, err := os.Stat(filepath.Join(i.dir, name)); err != nil {
			i.t.Error(err)
		} else if info.Mode().Perm() != mode {
			i.t.Errorf("%s has the mode %v", name, info.Mode())
		}
	}
	return string(out), nil
}

func (i installed) secrets() []string {
	return slices.DeleteFunc([]string{i.setting("HMAC_SECRET"), i.setting("HMAC_SECRET_PREVIOUS"), i.setting("HMAC_SECRET_NEXT"), i.setting("REDIS_PASSWORD")},
		func(s string) bool { return s == "" })
}

// wantLinks fails unless links are signed by something new, or by what is named, and those of the previous secret are good.
func (i installed) wantLinks(signed, previous string) {
	i.t.Helper()
	now := i.setting("HMAC_SECRET")
	if signed == "" && (len(now) != 64 || now == first || now == second) || signed != "" && now != signed {
		i.t.Errorf("links are signed by %s", now)
	}
	want := now + "\n"
	if previous != "" {
		want += previous + "\n"
	}
	if got := i.read("secrets/hmac"); got != want || i.setting("HMAC_SECRET_PREVIOUS") != previous || i.setting("HMAC_SECRET_NEXT") != "" {
		i.t.Errorf("the containers have\n%swanted is\n%s", got, want)
	}
}

// The secret of links is changed, and the one of before goes no sooner than its links, unless that is wanted.
func TestRotateChangesTheSecretOfLinks(t *testing.T) {
	i := newInstalled(t, "HMAC_SECRET="+first)
	if said, err := i.rotate("hmac"); err != nil {
		t.Fatal(err, said)
	}
	i.wantLinks("", first)
	now := i.setting("HMAC_SECRET")
	for _, args := range [][]string{{"hmac"}, {"hmac", "--finish"}} {
		if said, err := i.rotate(args...); err == nil || !strings.Contains(said, "may live until") {
			t.Errorf("%q: %v, %s", args, err, said)
		}
		i.wantLinks(now, first)
	}
	if said, err := i.rotate("hmac", "--finish", "--force"); err != nil {
		t.Error(err, said)
	}
	i.wantLinks(now, "")
}

// A change that was cut off is ended, and begins no other.
func TestRotateGoesOnWhereItWasCutOff(t *testing.T) {
	for state, settings := range map[string][]string{
		"the next one is known": {"HMAC_SECRET=" + first, "HMAC_SECRET_NEXT=" + second},
		"the next one signs":    {"HMAC_SECRET=" + second, "HMAC_SECRET_PREVIOUS=" + first, "HMAC_ROTATED_AT=begun"},
	} {
		t.Run(state, func(t *testing.T) {
			i := newInstalled(t, settings...)
			if said, err := i.rotate("hmac"); err != nil || !strings.Contains(said, "was cut off") {
				t.Error(err, said)
			}
			i.wantLinks(second, first)
			if !regexp.MustCompile(`^\d+$`).MatchString(i.setting("HMAC_ROTATED_AT")) {
				t.Errorf("it was through at %q", i.setting("HMAC_ROTATED_AT"))
			}
		})
	}
}

// A previous secret that somebody has set by hand is none of a change that was cut off: it is kept for as long as its links may live,
// counted from when it is first seen, and dropped where that is wanted.
func TestRotateAfterAChangeByHand(t *testing.T) {
	i := newInstalled(t, "HMAC_SECRET="+second, "HMAC_SECRET_PREVIOUS="+first)
	if said, err := i.rotate("hmac"); err == nil || !strings.Contains(said, "may live until") || i.setting("HMAC_ROTATED_AT") == "" {
		t.Errorf("%v, %s", err, said)
	}
	i.wantLinks(second, first)
	if said, err := i.rotate("hmac", "--force"); err != nil {
		t.Error(err, said)
	}
	i.wantLinks("", second)
}

// Redis is told to accept the next password, and then to refuse the one of before, by nothing but their SHA-256.
func TestRotateChangesThePasswordOfRedis(t *testing.T) {
	i := newInstalled(t, "HMAC_SECRET="+first)
	if said, err := i.rotate("redis"); err != nil {
		t.Fatal(err, said)
	}
	now := i.setting("REDIS_PASSWORD")
	if len(now) != 64 || now == redisBefore || i.read("secrets/redis/password") != now+"\n" || i.setting("REDIS_PASSWORD_PREVIOUS")+i.setting("REDIS_PASSWORD_NEXT") != "" {
		t.Errorf("the containers have %q, and .env is\n%s", i.read("secrets/redis/password"), i.read(".env"))
	}
	sum := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	told := regexp.MustCompile(`ACL SETUSER default (\S+)`).FindAllStringSubmatch(i.read("log"), -1)
	if len(told) != 2 || told[0][1] != "#"+sum(now) || told[1][1] != "!"+sum(redisBefore) {
		t.Errorf("Redis was told %q", told)
	}
}

// Where no secret can be made, nothing is changed, and nobody is told that it was.
func TestRotateMakesNoEmptySecret(t *testing.T) {
	for _, what := range []string{"hmac", "redis"} {
		i := newInstalled(t, "HMAC_SECRET="+first)
		i.write("openssl", "#!/bin/sh\nexit 1\n")
		before := i.read(".env")
		if said, err := i.rotate(what); err == nil || strings.Contains(said, "done") || i.read(".env") != before {
			t.Errorf("%s: %v, %s\n%s", what, err, said, i.read(".env"))
		}
	}
}
