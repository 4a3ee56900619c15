package compliance

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func anybody(s Settings) string {
	if mode := s("AUTH_MODE"); mode == "" || mode == "none" {
		return "AUTH_MODE=none asks nobody who they are: set it to apikey or oidc"
	}
	return ""
}

func developmentSecret(s Settings) string {
	switch {
	case s("HMAC_SECRET") == "" && s("HMAC_SECRET_FILE") == "":
		return "links are signed by a secret made for development: set HMAC_SECRET"
	case s("APP_ENV") != "production":
		return "APP_ENV=development makes do where something is missing: set it to production"
	}
	return ""
}

func everyOrigin(s Settings) string {
	if slices.Contains(strings.Split(s("CORS_ORIGINS"), ","), "*") {
		return "CORS_ORIGINS=* lets every page on the Internet use the API: name the pages"
	}
	return ""
}

// longest is how long a link may live before it is no longer something that ends by itself: a day, in seconds.
const longest = 86400

func longLinks(s Settings) string {
	for _, name := range []string{"TOKEN_EXPIRY_SECONDS", "TOKEN_MAX_SECONDS"} {
		if n, err := strconv.ParseInt(s(name), 10, 64); err == nil && n > longest {
			return name + " lets links live for more than a day: set it to " + strconv.Itoa(longest) + " or less"
		}
	}
	return ""
}

func openRedis(s Settings) string {
	if s("REDIS_HOST") != "" && s("REDIS_PASSWORD") == "" && s("REDIS_PASSWORD_FILE") == "" {
		return "the Redis at REDIS_HOST is used without a password: set REDIS_PASSWORD, there and here"
	}
	return ""
}

func rotating(s Settings) string {
	if s("HMAC_SECRET_PREVIOUS") != "" {
		return "HMAC_SECRET_PREVIOUS still verifies links: remove it once those of before have ended"
	}
	return ""
}

func openPort(s Settings) string {
	if host := s("HOST"); host != "" && !local(host) && s("TRUSTED_PROXIES") == "" {
		return "HOST=" + host + " listens beyond this machine, and no proxy is trusted: put one with TLS before it, and name it in TRUSTED_PROXIES"
	}
	return ""
}

func plainRedis(s Settings) string {
	if host := s("REDIS_HOST"); host != "" && !local(host) && s("REDIS_TLS") != "true" {
		return "REDIS_HOST=" + host + " is not this machine: set REDIS_TLS=true, or see that nobody else is on the network between"
	}
	return ""
}

func plainEndpoints(s Settings) string {
	for _, name := range []string{"S3_ENDPOINT", "S3_PUBLIC_ENDPOINT", "SQS_ENDPOINT"} {
		if u, err := url.Parse(s(name)); err == nil && u.Scheme == "http" && !local(u.Hostname()) {
			return name + " is spoken to without TLS: give it as https://"
		}
	}
	return ""
}

// local reports whether a host is this machine.
func local(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
