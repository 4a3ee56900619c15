package app_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"pulsevault/pkg/app"
)

func fromEnv(settings map[string]string) (app.Config, error) {
	return app.ConfigFromEnv(func(name string) string { return settings[name] })
}

func TestBadValuesAreNamed(t *testing.T) {
	for setting, allowed := range map[string]string{
		"PORT=70000": "0 to 65535", "PORT=http": "0 to 65535", "APP_ENV=prod": "development or production",
		"TOKEN_EXPIRY_SECONDS=0": "from 1", "TOKEN_EXPIRY_SECONDS=90000": "TOKEN_MAX_SECONDS", "TOKEN_MAX_SECONDS=1.5": "whole number",
		"MAX_UPLOAD_SIZE=10 GB": "10GiB", "MAX_UPLOAD_SIZE=-1": "10GiB", "MAX_UPLOAD_SIZE=9999999TiB": "10GiB", "UPLOAD_EXPIRY=1 day": "24h",
		"MAX_OPEN_UPLOADS=0": "1 to 1000000", "MAX_OPEN_UPLOADS=many": "1 to 1000000", "MAX_PENDING_BYTES=10 GB": "10GiB", "MAX_PENDING_BYTES=9GiB": "MAX_UPLOAD_SIZE",
		"RENDITIONS=9000p": "240p", "WORKER_CONCURRENCY=-1": "0 to 256", "LOG_LEVEL=loud": "debug", "AUDIT_IP=some": "full",
		"TRUSTED_PROXIES=nginx": "10.0.0.0/8", "CORS_ORIGINS=clinic.example": "https://", "PUBLIC_PATH=Prod": "/Prod", "PUBLIC_PATH=/a b": "/Prod",
		"TRANSCODE_ENABLED=yes": "true or false", "METRICS_ENABLED=1": "true or false", "REDIS_DB=x": "whole number", "REDIS_TLS=on": "true or false", "QUEUE=kafka": "redis or sqs",
		"METRICS_ADDR=9090": ":9090", "METRICS_ADDR=:http": ":9090", "TLS_PROBE=nginx": "nginx:443", "TLS_PROBE=:443": "nginx:443", "TLS_PROBE=nginx:0": "nginx:443",
		"AUDIT_CHECK_INTERVAL=daily": "24h", "AUDIT_CHECK_INTERVAL=-1h": "24h", "AUDIT_CHECK_INTERVAL=721h": "720h",
	} {
		name, value, _ := strings.Cut(setting, "=")
		_, err := fromEnv(map[string]string{name: value, "MEDIA_ROOT": t.TempDir(), "REDIS_HOST": "redis"})
		if err == nil {
			t.Errorf("%s is accepted", setting)
			continue
		}
		message := err.Error()
		if !strings.HasPrefix(message, name+`="`+value+`"`) || !strings.Contains(message, allowed) || strings.Contains(message, "\n") {
			t.Errorf("%s: %s", setting, message)
		}
	}
}

// What is kept at AWS must be named. An empty setting stands for the good ones.
func TestQueueAndBucketMustBeNamed(t *testing.T) {
	const url = "https://sqs.eu-central-1.amazonaws.com/123456789012/pulsevault.fifo"
	queue := map[string]string{"QUEUE": "sqs", "SQS_QUEUE_URL": url, "AWS_REGION": "eu-central-1", "SQS_ENDPOINT": "http://127.0.0.1:9324"}
	pieces := maps.Clone(queue)
	pieces["SQS_PIECES_QUEUE_URL"] = strings.Replace(url, "pulsevault.fifo", "pieces.fifo", 1)
	bucket := map[string]string{"STORAGE": "s3", "S3_BUCKET": "clinic-videos", "AWS_REGION": "eu-central-1", "S3_ENDPOINT": "http://127.0.0.1:7070", "REDIS_HOST": "redis"}
	audited := maps.Clone(bucket)
	audited["AUDIT_QUEUE_URL"], audited["S3_REGION"] = url, "eu-central-1"
	for _, tc := range []struct {
		good             map[string]string
		setting, allowed string
	}{
		{queue, "SQS_QUEUE_URL=", "pulsevault.fifo"}, {queue, "SQS_QUEUE_URL=pulsevault.fifo", "https://"},
		{queue, "SQS_QUEUE_URL=" + strings.TrimSuffix(url, ".fifo"), "FIFO"}, {queue, "AWS_REGION=", "eu-central-1"},
		{queue, "AWS_REGION=Frankfurt", "eu-central-1"}, {queue, "SQS_ENDPOINT=127.0.0.1:9324", "http://"}, {queue, "", ""},
		{pieces, "SQS_PIECES_QUEUE_URL=pieces.fifo", "https://"}, {pieces, "SQS_PIECES_QUEUE_URL=" + url, "another queue"}, {pieces, "", ""},
		{bucket, "S3_BUCKET=", "clinic-videos"}, {bucket, "S3_BUCKET=Clinic_Videos", "clinic-videos"}, {bucket, "S3_REGION=x", "eu-central-1"},
		{bucket, "S3_ENDPOINT=minio", "http://"}, {bucket, "S3_PUBLIC_ENDPOINT=minio", "http://"}, {bucket, "REDIS_HOST=", "STORAGE=s3"},
		{bucket, "STORAGE=nfs", "file or s3"}, {bucket, "", ""},
		{audited, "AUDIT_QUEUE_URL=audit.fifo", "https://"}, {audited, "AUDIT_QUEUE_URL=" + strings.TrimSuffix(url, ".fifo"), "FIFO"},
		{audited, "AWS_REGION=", "eu-central-1"}, {audited, "SQS_ENDPOINT=elasticmq", "http://"}, {audited, "", ""},
		{queue, "AUDIT_QUEUE_URL=" + url, "empty without STORAGE=s3"},
	} {
		settings := maps.Clone(tc.good)
		settings["MEDIA_ROOT"] = t.TempDir()
		name, value, _ := strings.Cut(tc.setting, "=")
		settings[name] = value
		c, err := fromEnv(settings)
		switch {
		case name == "" && (err != nil || c.AWSRegion+c.S3Region != strings.Repeat("eu-central-1", 1+len(c.AuditQueueURL)/len(url)) || c.QueueOnSQS == c.InBucket):
			t.Errorf("%+v, %v", c, err)
		case name != "" && (err == nil || !strings.HasPrefix(err.Error(), name+`="`+value+`"`) || !strings.Contains(err.Error(), tc.allowed)):
			t.Errorf("%s: %v", tc.setting, err)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	for _, name := range []string{"HMAC_SECRET", "HMAC_SECRET_PREVIOUS"} {
		_, err := fromEnv(map[string]string{name: "hunter2", "MEDIA_ROOT": t.TempDir()})
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A secret stands in the environment or in a file: where both are given it would not be known which one counts.
func TestASecretIsGivenOnce(t *testing.T) {
	for _, tc := range []struct{ file, plain string }{
		{"HMAC_SECRET_FILE", "HMAC_SECRET"}, {"HMAC_SECRET_FILE", "HMAC_SECRET_PREVIOUS"}, {"REDIS_PASSWORD_FILE", "REDIS_PASSWORD"},
	} {
		settings := map[string]string{"APP_ENV": "production", "AUTH_MODE": "apikey", "REDIS_HOST": "redis", "MEDIA_ROOT": t.TempDir(), "HMAC_SECRET_FILE": "/secrets/hmac", tc.file: "/secrets/file"}
		if _, err := fromEnv(settings); err != nil {
			t.Errorf("with %s alone: %v", tc.file, err)
		}
		settings[tc.plain] = strings.Repeat("s", 32)
		if _, err := fromEnv(settings); err == nil || !strings.HasPrefix(err.Error(), tc.file) || strings.Contains(err.Error(), settings[tc.plain]) {
			t.Errorf("with %s and %s: %v", tc.file, tc.plain, err)
		}
	}
}

func TestProductionMakesNothingUp(t *testing.T) {
	root := t.TempDir()
	if _, err := fromEnv(map[string]string{"APP_ENV": "production", "MEDIA_ROOT": root}); err == nil || !strings.Contains(err.Error(), "HMAC_SECRET") {
		t.Errorf("without a secret: %v", err)
	}
	settings := map[string]string{"APP_ENV": "production", "MEDIA_ROOT": root, "HMAC_SECRET": strings.Repeat("s", 32)}
	if _, err := fromEnv(settings); err == nil || !strings.Contains(err.Error(), "AUTH_MODE") || !strings.Contains(err.Error(), "ALLOW_UNAUTHENTICATED") {
		t.Errorf("without authentication: %v", err)
	}
	for name, value := range map[string]string{"AUTH_MODE": "apikey", "ALLOW_UNAUTHENTICATED": "true"} {
		allowed := maps.Clone(settings)
		allowed[name] = value
		if c, err := fromEnv(allowed); err != nil || !c.Production {
			t.Errorf("with a secret and %s=%s: %v", name, value, err)
		}
	}
}

// A provider must be named whole, and by an address that nobody can pretend to be on the way.
func TestAProviderMustBeNamed(t *testing.T) {
	good := map[string]string{"AUTH_MODE": "oidc", "OIDC_ISSUER": "https://id.clinic.example/realms/a", "OIDC_AUDIENCE": "pulsevault", "OIDC_ROLES_CLAIM": "realm_access.roles"}
	for _, tc := range []struct{ name, value, want string }{
		{"", "", ""}, {"OIDC_ISSUER", "", "OIDC_ISSUER"}, {"OIDC_ISSUER", "http://id.clinic.example", "OIDC_ISSUER"}, {"OIDC_ISSUER", "http://localhost.evil.example", "OIDC_ISSUER"},
		{"OIDC_ISSUER", "http://127.0.0.1:8080/realms/a", ""}, {"OIDC_AUDIENCE", "", "OIDC_AUDIENCE"}, {"OIDC_ROLES_CLAIM", "a b", "OIDC_ROLES_CLAIM"},
		{"AUTH_MODE", "basic", "none or apikey or oidc"}, {"ALLOW_UNAUTHENTICATED", "yes", "true or false"}, {"OWNER_DELETE", "1", "true or false"},
	} {
		settings := maps.Clone(good)
		settings["MEDIA_ROOT"] = t.TempDir()
		settings[tc.name] = tc.value
		c, err := fromEnv(settings)
		if tc.want == "" && (err != nil || c.OIDC.NameClaim != "sub" || c.OIDC.RolesClaim != "realm_access.roles") || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s=%q: %+v, %v", tc.name, tc.value, c.OIDC, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	root := t.TempDir()
	c, err := fromEnv(map[string]string{"MEDIA_ROOT": root, "REDIS_HOST": "redis", "TRUSTED_PROXIES": "10.1.2.3, 192.168.0.0/16", "MAX_UPLOAD_SIZE": "3MiB"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "127.0.0.1" || c.Port != 3000 || c.TokenExpiry != 5*time.Minute || c.TokenMax != 24*time.Hour || c.UploadExpiry != 24*time.Hour ||
		c.RedisAddr != "redis:6379" || c.RedisTLS || len(c.Renditions) != 5 || c.WorkerConcurrency != 1 || c.MetricsAddr != "" || c.TLSProbe != "" || c.AuditCheckInterval != 24*time.Hour || !c.TranscodeEnabled || !c.MetricsEnabled ||
		c.MaxUploadSize != 3<<20 || c.MaxOpenUploads != 10_000 || c.MaxPendingBytes != 0 || c.VideoDir != root+"/videos" || c.UploadDir != root+"/uploads" || c.AuditDir != root+"/audit" {
		t.Errorf("%+v", c)
	}
	if got := c.TrustedProxies; len(got) != 2 || got[0].String() != "10.1.2.3/32" {
		t.Errorf("trusted proxies %v", got)
	}
}
