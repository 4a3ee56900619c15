package rig

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// RenderNginx makes of the nginx folder of this repository what the image's entry point makes of it, in another folder: nginx.conf
// and what it includes. Settings are those of nginx/entrypoint, as NAME=value; where they name no certificate, there is a
// self-signed one for localhost. What nginx keeps goes below the folder too, if they do not say otherwise.
func RenderNginx(ctx context.Context, from, folder string, settings ...string) error {
	if err := SelfSigned(folder); err != nil {
		return err
	}
	env, err := NginxSettings(ctx, from, append([]string{
		"TLS_CERTIFICATE=" + filepath.Join(folder, "fullchain.pem"), "TLS_CERTIFICATE_KEY=" + filepath.Join(folder, "privkey.pem"),
		"NGINX_CACHE_DIR=" + folder, "NGINX_TEMP_DIR=" + folder,
	}, settings...)...)
	if err != nil {
		return err
	}
	templates, err := filepath.Glob(filepath.Join(from, "templates", "*.template"))
	if err != nil || len(templates) == 0 {
		return fmt.Errorf("%s has no templates", from)
	}
	rendered := filepath.Join(folder, "conf.d")
	if err := os.Mkdir(rendered, 0o750); err != nil {
		return err
	}
	variable := regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)`)
	for _, template := range templates {
		err := rewrite(template, filepath.Join(rendered, strings.TrimSuffix(filepath.Base(template), ".template")), func(text string) string {
			return variable.ReplaceAllStringFunc(text, func(found string) string {
				if value, ok := env[strings.Trim(found, "${}")]; ok {
					return value
				}
				return found
			})
		})
		if err != nil {
			return err
		}
	}
	here := strings.NewReplacer("/etc/nginx/conf.d/", rendered+"/", "/tmp/nginx.pid", filepath.Join(folder, "nginx.pid"))
	return rewrite(filepath.Join(from, "nginx.conf"), filepath.Join(folder, "nginx.conf"), here.Replace)
}

func rewrite(from, to string, change func(string) string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, []byte(change(string(text))), 0o600)
}

// NginxSettings is the image's environment when nginx/entrypoint has read the settings, or what it says of one that is not allowed.
func NginxSettings(ctx context.Context, from string, settings ...string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", ". ./10-settings.envsh && env -0")
	cmd.Dir = filepath.Join(from, "entrypoint")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, settings...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, &complaints)
	}
	env := map[string]string{}
	for _, line := range strings.Split(string(out), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	return env, nil
}

// Nginx is the command that runs nginx on a folder that RenderNginx has made, in the foreground, with further directives.
func Nginx(ctx context.Context, folder string, directives ...string) *exec.Cmd {
	more := "daemon off;" + strings.Join(directives, "")
	if os.Geteuid() == 0 {
		more += "user root;" // or its workers could not enter the folder
	}
	return exec.CommandContext(ctx, "nginx", "-e", "stderr", "-p", folder, "-c", filepath.Join(folder, "nginx.conf"), "-g", more)
}

// SelfSigned makes a certificate for localhost in a folder, good for 90 days: fullchain.pem and privkey.pem.
func SelfSigned(folder string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotAfter: time.Now().AddDate(0, 0, 90),
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"fullchain.pem": {Type: "CERTIFICATE", Bytes: public}, "privkey.pem": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
