package app

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pulsevault/pkg/token"
)

// env reads settings and keeps the first thing that is wrong with them.
type env struct {
	get func(string) string
	err error
}

func (e *env) refuse(name, allowed string) {
	if e.err == nil {
		e.err = fmt.Errorf("%s=%q is not allowed: it must be %s", name, e.get(name), allowed)
	}
}

// refuseHidden refuses a secret without telling it.
func (e *env) refuseHidden(name string, length int) {
	if e.err == nil {
		e.err = fmt.Errorf("%s has %d bytes: it must have %d or more; make one with: openssl rand -hex 32", name, length, token.MinSecret)
	}
}

func (e *env) text(name, fallback string) string {
	if s := e.get(name); s != "" {
		return s
	}
	return fallback
}

func (e *env) number(name string, fallback, least, most int64) int64 {
	s := e.get(name)
	if s == "" {
		return fallback
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < least || n > most {
		e.refuse(name, fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return n
}

func (e *env) boolean(name string, fallback bool) bool {
	s := e.get(name)
	if s == "" {
		return fallback
	}
	if s != "true" && s != "false" {
		e.refuse(name, "true or false")
	}
	return s == "true"
}

// choice returns one of the allowed values, the first if none is given.
func (e *env) choice(name string, allowed ...string) string {
	s := e.text(name, allowed[0])
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	e.refuse(name, strings.Join(allowed, " or "))
	return allowed[0]
}

func (e *env) level(name string) slog.Level {
	levels := map[string]slog.Level{"info": slog.LevelInfo, "debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	return levels[e.choice(name, "info", "debug", "warn", "error")]
}

func (e *env) duration(name string, fallback, least, most time.Duration) time.Duration {
	s := e.get(name)
	if s == "" {
		return fallback
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > most {
		e.refuse(name, fmt.Sprintf("a time such as 90m or 24h, from %v to %v", least, most))
	}
	return d
}

var sizeForm = regexp.MustCompile(`^([0-9]{1,18})(B|KiB|MiB|GiB|TiB)?$`)

func (e *env) bytes(name string, fallback int64) int64 {
	s := e.get(name)
	if s == "" {
		return fallback
	}
	parts := sizeForm.FindStringSubmatch(s)
	if parts == nil {
		e.refuse(name, "a number of bytes, such as 1048576 or 10GiB")
		return fallback
	}
	n, _ := strconv.ParseInt(parts[1], 10, 64) // 18 digits always fit
	shift := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[parts[2]]
	if n < 1 || n > 1<<62>>shift {
		e.refuse(name, "a number of bytes, such as 1048576 or 10GiB")
		return fallback
	}
	return n << shift
}

func (e *env) parse(name string, parse func(string) error) {
	if err := parse(e.get(name)); err != nil {
		e.refuse(name, err.Error())
	}
}

func (e *env) list(name string) []string {
	var items []string
	for item := range strings.SplitSeq(e.get(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func (e *env) prefixes(name string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, item := range e.list(name) {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			addr, addrErr := netip.ParseAddr(item)
			if addrErr != nil {
				e.refuse(name, "addresses or prefixes with commas between them, such as 10.0.0.0/8,127.0.0.1")
				return nil
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		prefixes = append(prefixes, p.Masked())
	}
	return prefixes
}

func (e *env) origins(name string) []string {
	origins := e.list(name)
	for _, o := range origins {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "") {
			e.refuse(name, "origins with commas between them, such as https://clinic.example, or *")
		}
	}
	return origins
}

// addr is a host and a port, if anything; where one listens, the host may be left out.
func (e *env) addr(name string, listens bool) string {
	s := e.get(name)
	if s == "" {
		return ""
	}
	allowed := "a host and a port, such as nginx:443"
	if listens {
		allowed = "an address and a port to listen on, such as :9090 or 127.0.0.1:9090"
	}
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" && !listens || n == 0 && !listens {
		e.refuse(name, allowed)
	}
	return s
}

var publicPathForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

func (e *env) path(name string) string {
	s := strings.TrimSuffix(e.get(name), "/")
	if s != "" && !publicPathForm.MatchString(s) {
		e.refuse(name, "a path such as /Prod")
	}
	return s
}

var (
	endpointForm = regexp.MustCompile(`^https?://[A-Za-z0-9.:\[\]-]+/?$`)
	fifoURLForm  = regexp.MustCompile(`^https?://[A-Za-z0-9.:\[\]-]+/([A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+\.fifo$`)
	bucketForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	issuerForm   = regexp.MustCompile(`^(https://|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(/|$))[!-~]*$`)
	audienceForm = regexp.MustCompile(`^[!-~]{1,256}$`)
	claimForm    = regexp.MustCompile(`^[!-~]{1,256}$`)
	regionForm   = regexp.MustCompile(`^[a-z]+(-[a-z]+)+-[0-9]+$`)
)

// formed wants a setting, and of a form.
func (e *env) formed(name string, form *regexp.Regexp, allowed string) string {
	s := e.get(name)
	if !form.MatchString(s) {
		e.refuse(name, allowed)
	}
	return s
}

// endpoint is where a service of AWS is, if not there.
func (e *env) endpoint(name string) string {
	if e.get(name) == "" {
		return ""
	}
	return e.formed(name, endpointForm, "a URL without a path, such as http://127.0.0.1:9324")
}

// claim is the name of a claim, or a path to it with dots.
func (e *env) claim(name, fallback string) string {
	if e.get(name) == "" {
		return fallback
	}
	return e.formed(name, claimForm, "the name of a claim, or a path such as realm_access.roles")
}
