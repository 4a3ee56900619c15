// Package app wires PulseVault together: its configuration, its parts, its routes and the loops beside them. It is the
// only package that knows everyone; every host (server, function, test) builds an App and takes the handlers it wants.
package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"pulsevault/pkg/redisdb"
	"pulsevault/pkg/token"
	"pulsevault/pkg/transcode"
)

// Version is set at build time.
var Version = "dev"

// Config is what can be set, by environment variables of the names given. A bad value stops the start with one line that
// names the variable, the value and what is allowed.
type Config struct {
	// Host and Port (HOST, PORT) are where the server listens. Defaults 127.0.0.1 and 3000; port 0 takes a free one.
	Host string
	Port int

	// Production (APP_ENV=production|development, default development) refuses to make do: it wants a HMAC_SECRET and a
	// MEDIA_ROOT that is there. Development also reads a file .env in the working directory.
	Production bool

	// MediaRoot (MEDIA_ROOT) is the directory that holds everything. Default: /mnt/media where that is there and writable,
	// else, in development, pulsevault-test in the system's directory for temporary files.
	MediaRoot string
	// UploadDir, VideoDir and AuditDir (UPLOAD_DIR, VIDEO_DIR, AUDIT_DIR) default to uploads, videos and audit below it.
	// The first two must be on one file system, because finishing an upload moves it.
	UploadDir, VideoDir, AuditDir string

	// InBucket (STORAGE=file|s3, default file) says where uploads, videos and the audit log are kept. With s3, S3Bucket
	// (S3_BUCKET) and S3Region (S3_REGION, or else AWS_REGION) are needed, MediaRoot is for what only this machine needs, and
	// Redis is never embedded. S3Endpoint (S3_ENDPOINT) is where S3 itself is if not at AWS, and S3PublicEndpoint
	// (S3_PUBLIC_ENDPOINT, the same by default) where players reach it: playlists name segments there.
	InBucket                                         bool
	S3Bucket, S3Region, S3Endpoint, S3PublicEndpoint string

	// Secret (HMAC_SECRET, 32 bytes or more) signs media links. Development makes one and keeps it in MediaRoot, readable by
	// its owner only, so that all processes share it. PreviousSecret (HMAC_SECRET_PREVIOUS) still verifies. SecretFile
	// (HMAC_SECRET_FILE) is a file with them, in place of both: the first line signs, those behind it verify too, and a change of it is
	// noticed within a second.
	Secret, PreviousSecret string `secret:"true"`
	SecretFile             string
	// TokenExpiry and TokenMax (TOKEN_EXPIRY_SECONDS 300, TOKEN_MAX_SECONDS 86400) are how long a link lives when its
	// request does not say, and at most.
	TokenExpiry, TokenMax time.Duration

	// RedisAddr (REDIS_HOST and REDIS_PORT 6379), RedisPassword and RedisDB (REDIS_PASSWORD, REDIS_DB 0) name the Redis that
	// several processes share. Without REDIS_HOST the server runs an embedded one, for one machine. RedisTLS (REDIS_TLS,
	// default false) speaks TLS 1.2 or newer with it, and wants a certificate for REDIS_HOST that this machine trusts.
	// RedisPasswordFile (REDIS_PASSWORD_FILE) is a file whose first line is the password, in place of RedisPassword: each new
	// connection reads it.
	RedisAddr         string
	RedisPassword     string `secret:"true"`
	RedisPasswordFile string
	RedisDB           int
	RedisTLS          bool

	// QueueOnSQS (QUEUE=redis|sqs, default redis) says where tasks are queued. With SQS, SQSQueueURL (SQS_QUEUE_URL) names a
	// FIFO queue and AWSRegion (AWS_REGION) its region; both are needed. SQSPiecesURL (SQS_PIECES_QUEUE_URL, default none)
	// names a second one for pieces of long videos, which short videos then go before; without it they wait in the first.
	// SQSEndpoint (SQS_ENDPOINT) is where SQS itself is if not at AWS. Redis is needed all the same, for what else processes
	// agree on.
	QueueOnSQS                                        bool
	SQSQueueURL, SQSPiecesURL, SQSEndpoint, AWSRegion string

	// AuditQueueURL (AUDIT_QUEUE_URL, default none; only with STORAGE=s3) names a FIFO queue on SQS that takes the events of
	// the audit log, for the function audit to put them there. It wants AWSRegion and takes SQSEndpoint too. Without it every
	// process appends to the log itself.
	AuditQueueURL string

	// TranscodeEnabled (TRANSCODE_ENABLED, default true) makes HLS of every video.
	TranscodeEnabled bool
	// Renditions (RENDITIONS, default all: 240p,360p,480p,720p,1080p) are the rungs of the ladder.
	Renditions []transcode.Rung
	// PieceSeconds (PIECE_SECONDS, default 60, at least 6; 0 splits none) is how long a video may be before it is split into
	// pieces of about that length, on which any number of workers work at once.
	PieceSeconds float64
	// FFmpegThreads (FFMPEG_THREADS, default 0: as many as it likes) bounds the threads of one ffmpeg.
	FFmpegThreads int
	// WorkerConcurrency (WORKER_CONCURRENCY, default 1) is how many tasks this process works on at once; 0 is none.
	WorkerConcurrency int

	// MaxUploadSize (MAX_UPLOAD_SIZE, bytes or with a suffix such as 10GiB, which is the default) is what one upload may have.
	MaxUploadSize int64
	// MaxOpenUploads (MAX_OPEN_UPLOADS, default 10000; 1 to 1000000) is how many uploads may be open at once, which is from
	// their creation until they are videos or have expired. MaxPendingBytes (MAX_PENDING_BYTES, default none, else at least
	// MAX_UPLOAD_SIZE) is what they may have together, by the lengths they were created with. Both hold for all processes
	// together, about: uploads are counted in Redis, and counted anew by each sweep.
	MaxOpenUploads  int64
	MaxPendingBytes int64
	// UploadExpiry (UPLOAD_EXPIRY, default 24h) is how long an upload is kept that nobody adds to.
	UploadExpiry time.Duration

	// AuditSigningKey (AUDIT_SIGNING_KEY, a signer key of golang.org/x/mod/sumdb/note, PRIVATE+KEY+…) signs the checkpoints of
	// the audit log. Without it one is made and kept in MediaRoot, readable by its owner only; with a bucket there are no
	// checkpoints then.
	AuditSigningKey string `secret:"true"`
	// AuditCheckInterval (AUDIT_CHECK_INTERVAL, default 24h, up to 720h; 0 never) is how long after one check of the whole audit
	// log a server begins the next; the first begins with the server. A check takes little of a disk and a processor, and so as
	// much as two hours for 60 GB; the metrics show what it found.
	AuditCheckInterval time.Duration
	// AuthMode (AUTH_MODE=none|apikey|oidc, default none) says how callers show who they are: not at all, by a key of pulsevault
	// keys, or by a token of an OpenID provider. With none in production the server starts only if AllowUnauthenticated
	// (ALLOW_UNAUTHENTICATED=true, default false) says that something before it asks them, and says so at each start.
	AuthMode             AuthMode
	AllowUnauthenticated bool
	// OIDC is the provider, with AUTH_MODE=oidc: its Issuer (OIDC_ISSUER, an https URL, or an http one of this machine) and the
	// Audience that its tokens must be for (OIDC_AUDIENCE); both are needed. NameClaim (OIDC_NAME_CLAIM, default sub, which a
	// provider never gives to somebody else; an email address it may) is the claim with the caller's userId, RolesClaim
	// (OIDC_ROLES_CLAIM, default roles) the one with its roles, each of which may be a path such as realm_access.roles.
	OIDC OIDCConfig
	// OwnerDelete (OWNER_DELETE, default false) lets who uploaded a video delete it.
	OwnerDelete bool

	// TrustedProxies (TRUSTED_PROXIES, addresses or prefixes with commas, default none) are believed about X-Forwarded-For.
	TrustedProxies []netip.Prefix
	// CORSOrigins (CORS_ORIGINS, origins with commas, or *; default none) may use the API from a browser.
	CORSOrigins []string
	// PublicPath (PUBLIC_PATH, such as /Prod) goes in front of the links in answers where we are served under a prefix.
	PublicPath string
	// AuditFullIP (AUDIT_IP=full|anonymised, the default) keeps whole client addresses in the audit log.
	AuditFullIP bool
	// LogLevel (LOG_LEVEL=debug|info|warn|error, default info).
	LogLevel slog.Level
	// MetricsEnabled (METRICS_ENABLED, default true) answers GET /metrics.
	MetricsEnabled bool
	// MetricsAddr (METRICS_ADDR, such as :9090, default none) is where a worker, which answers no requests otherwise, listens for
	// GET /healthz, /readyz and /metrics. A server answers these where it answers everything.
	MetricsAddr string
	// TLSProbe (TLS_PROBE, such as nginx:443, default none) is where clients reach this server by TLS. Its metrics then show when
	// the certificate ends that is seen there.
	TLSProbe string

	maxDirect int64 // bytes of a file in a bucket that go out through this process, 0 for any; set by its host
}

// redis says how to reach the Redis that is configured; its Addr is empty if none is.
func (c Config) redis() redisdb.Options {
	o := redisdb.Options{Addr: c.RedisAddr, Password: c.RedisPassword, PasswordFile: c.RedisPasswordFile, DB: c.RedisDB}
	if c.RedisTLS {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

// works reports whether tasks are worked on in this process.
func (c Config) works() bool { return c.TranscodeEnabled && c.WorkerConcurrency > 0 }

// defaultMediaRoot is used in every environment if it is there.
const defaultMediaRoot = "/mnt/media"

// ConfigFromEnv reads the configuration. getenv is os.Getenv.
func ConfigFromEnv(getenv func(string) string) (Config, error) {
	e := &env{get: getenv}
	c := Config{
		Host:               e.text("HOST", "127.0.0.1"),
		Port:               int(e.number("PORT", 3000, 0, 65535)),
		Production:         e.choice("APP_ENV", "development", "production") == "production",
		Secret:             e.text("HMAC_SECRET", ""),
		PreviousSecret:     e.text("HMAC_SECRET_PREVIOUS", ""),
		TokenExpiry:        time.Duration(e.number("TOKEN_EXPIRY_SECONDS", 300, 1, 1<<31)) * time.Second,
		TokenMax:           time.Duration(e.number("TOKEN_MAX_SECONDS", 86400, 1, 1<<31)) * time.Second,
		SecretFile:         e.text("HMAC_SECRET_FILE", ""),
		RedisPassword:      e.text("REDIS_PASSWORD", ""),
		RedisPasswordFile:  e.text("REDIS_PASSWORD_FILE", ""),
		RedisDB:            int(e.number("REDIS_DB", 0, 0, 1<<15)),
		QueueOnSQS:         e.choice("QUEUE", "redis", "sqs") == "sqs",
		TranscodeEnabled:   e.boolean("TRANSCODE_ENABLED", true),
		PieceSeconds:       float64(e.number("PIECE_SECONDS", 60, 0, 86400)),
		FFmpegThreads:      int(e.number("FFMPEG_THREADS", 0, 0, 256)),
		WorkerConcurrency:  int(e.number("WORKER_CONCURRENCY", 1, 0, 256)),
		MaxUploadSize:      e.bytes("MAX_UPLOAD_SIZE", 10<<30),
		MaxOpenUploads:     e.number("MAX_OPEN_UPLOADS", 10_000, 1, 1_000_000),
		MaxPendingBytes:    e.bytes("MAX_PENDING_BYTES", 0),
		UploadExpiry:       e.duration("UPLOAD_EXPIRY", 24*time.Hour, time.Minute, 365*24*time.Hour),
		OwnerDelete:        e.boolean("OWNER_DELETE", false),
		TrustedProxies:     e.prefixes("TRUSTED_PROXIES"),
		CORSOrigins:        e.origins("CORS_ORIGINS"),
		PublicPath:         e.path("PUBLIC_PATH"),
		AuditSigningKey:    e.text("AUDIT_SIGNING_KEY", ""),
		AuditCheckInterval: e.duration("AUDIT_CHECK_INTERVAL", 24*time.Hour, 0, 720*time.Hour),
		AuditFullIP:        e.choice("AUDIT_IP", "anonymised", "full") == "full",
		LogLevel:           e.level("LOG_LEVEL"),
		MetricsEnabled:     e.boolean("METRICS_ENABLED", true),
		MetricsAddr:        e.addr("METRICS_ADDR", true),
		TLSProbe:           e.addr("TLS_PROBE", false),
	}
	if host := e.text("REDIS_HOST", ""); host != "" {
		c.RedisAddr = fmt.Sprintf("%s:%d", host, e.number("REDIS_PORT", 6379, 1, 65535))
		c.RedisTLS = e.boolean("REDIS_TLS", false)
	}
	c.bucket(e)
	c.queues(e)
	e.parse("RENDITIONS", func(s string) (err error) {
		c.Renditions, err = transcode.ParseRenditions(s)
		return err
	})
	if c.PieceSeconds > 0 && c.PieceSeconds < 6 {
		e.refuse("PIECE_SECONDS", "0, or at least the 6 seconds of a segment")
	}
	if c.MaxPendingBytes > 0 && c.MaxPendingBytes < c.MaxUploadSize {
		e.refuse("MAX_PENDING_BYTES", "at least MAX_UPLOAD_SIZE, which is "+fmt.Sprint(c.MaxUploadSize)+" bytes")
	}
	if c.TokenExpiry > c.TokenMax {
		e.refuse("TOKEN_EXPIRY_SECONDS", "at most TOKEN_MAX_SECONDS, which is "+fmt.Sprint(int64(c.TokenMax/time.Second)))
	}
	c.directories(e)
	c.checkSecrets(e)
	c.authentication(e)
	return c, e.err
}

func (c *Config) bucket(e *env) {
	c.InBucket = e.choice("STORAGE", "file", "s3") == "s3"
	if !c.InBucket {
		return
	}
	c.S3Bucket = e.formed("S3_BUCKET", bucketForm, "the name of a bucket, such as clinic-videos")
	region := "S3_REGION"
	if e.get(region) == "" && e.get("AWS_REGION") != "" {
		region = "AWS_REGION"
	}
	c.S3Region = e.formed(region, regionForm, "the region of the bucket, such as eu-central-1")
	c.S3Endpoint, c.S3PublicEndpoint = e.endpoint("S3_ENDPOINT"), e.endpoint("S3_PUBLIC_ENDPOINT")
	if c.RedisAddr == "" {
		e.refuse("REDIS_HOST", "set with STORAGE=s3: several machines agree through it")
	}
}

func (c *Config) queues(e *env) {
	if c.QueueOnSQS {
		c.SQSQueueURL = e.formed("SQS_QUEUE_URL", fifoURLForm, "the URL of a FIFO queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/pulsevault.fifo")
		c.piecesQueue(e)
	}
	if e.get("AUDIT_QUEUE_URL") != "" {
		c.AuditQueueURL = e.formed("AUDIT_QUEUE_URL", fifoURLForm, "the URL of a FIFO queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/audit.fifo")
		if !c.InBucket {
			e.refuse("AUDIT_QUEUE_URL", "empty without STORAGE=s3: a log in a directory is appended to directly")
		}
	}
	if c.QueueOnSQS || c.AuditQueueURL != "" {
		c.AWSRegion = e.formed("AWS_REGION", regionForm, "the region of the queues, such as eu-central-1")
		c.SQSEndpoint = e.endpoint("SQS_ENDPOINT")
	}
}

func (c *Config) piecesQueue(e *env) {
	if e.get("SQS_PIECES_QUEUE_URL") == "" {
		return
	}
	c.SQSPiecesURL = e.formed("SQS_PIECES_QUEUE_URL", fifoURLForm, "the URL of a FIFO queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/pieces.fifo")
	if path.Base(c.SQSPiecesURL) == path.Base(c.SQSQueueURL) {
		e.refuse("SQS_PIECES_QUEUE_URL", "another queue, by another name, than SQS_QUEUE_URL, or empty")
	}
}

// AuthMode is how callers show who they are.
type AuthMode string

// The modes.
const (
	AuthNone   AuthMode = "none"
	AuthAPIKey AuthMode = "apikey"
	AuthOIDC   AuthMode = "oidc"
)

// OIDCConfig names a provider of OpenID Connect and what its tokens say.
type OIDCConfig struct{ Issuer, Audience, RolesClaim, NameClaim string }

func (c *Config) authentication(e *env) {
	c.AuthMode = AuthMode(e.choice("AUTH_MODE", string(AuthNone), string(AuthAPIKey), string(AuthOIDC)))
	c.AllowUnauthenticated = e.boolean("ALLOW_UNAUTHENTICATED", false)
	if c.AuthMode == AuthNone && c.Production && !c.AllowUnauthenticated {
		e.refuse("AUTH_MODE", "apikey or oidc in production; ALLOW_UNAUTHENTICATED=true lets everybody in, where something before this server asks who they are")
	}
	c.OIDC = OIDCConfig{e.text("OIDC_ISSUER", ""), e.text("OIDC_AUDIENCE", ""), e.claim("OIDC_ROLES_CLAIM", "roles"), e.claim("OIDC_NAME_CLAIM", "sub")}
	if c.AuthMode != AuthOIDC {
		return
	}
	c.OIDC.Issuer = e.formed("OIDC_ISSUER", issuerForm, "the https URL of the provider, as its tokens have it in iss")
	c.OIDC.Audience = e.formed("OIDC_AUDIENCE", audienceForm, "what the provider's tokens for this server have in aud, such as pulsevault")
}

func (c *Config) directories(e *env) {
	c.MediaRoot = e.text("MEDIA_ROOT", "")
	if c.MediaRoot == "" {
		switch {
		case c.InBucket:
			c.MediaRoot = filepath.Join(os.TempDir(), "pulsevault")
		case writable(defaultMediaRoot):
			c.MediaRoot = defaultMediaRoot
		case c.Production:
			e.refuse("MEDIA_ROOT", "a directory that is there and writable; "+defaultMediaRoot+" is not")
		default:
			c.MediaRoot = filepath.Join(os.TempDir(), "pulsevault-test")
		}
	}
	for name, dir := range map[string]*string{"UPLOAD_DIR": &c.UploadDir, "VIDEO_DIR": &c.VideoDir, "AUDIT_DIR": &c.AuditDir, "": &c.MediaRoot} {
		if name != "" {
			below := map[string]string{"UPLOAD_DIR": "uploads", "VIDEO_DIR": "videos", "AUDIT_DIR": "audit"}[name]
			*dir = e.text(name, filepath.Join(c.MediaRoot, below))
		}
		if abs, err := filepath.Abs(*dir); err == nil {
			*dir = abs
		}
	}
}

func (c *Config) checkSecrets(e *env) {
	if _, err := note.NewSigner(c.AuditSigningKey); c.AuditSigningKey != "" && err != nil && e.err == nil {
		e.err = errors.New("AUDIT_SIGNING_KEY is no signer key (PRIVATE+KEY+…): start once without it, and take the one from " + signingKeyFile + " in MEDIA_ROOT")
	}
	switch {
	case c.SecretFile != "" && c.Secret+c.PreviousSecret != "":
		e.refuse("HMAC_SECRET_FILE", "empty where HMAC_SECRET or HMAC_SECRET_PREVIOUS is set: both would say the same")
	case c.RedisPasswordFile != "" && c.RedisPassword != "":
		e.refuse("REDIS_PASSWORD_FILE", "empty where REDIS_PASSWORD is set: both would say the same")
	case c.Secret+c.SecretFile == "" && c.Production:
		e.refuse("HMAC_SECRET", fmt.Sprintf("a secret of %d bytes or more in production; make one with: openssl rand -hex 32", token.MinSecret))
	case c.Secret != "" && len(c.Secret) < token.MinSecret:
		e.refuseHidden("HMAC_SECRET", len(c.Secret))
	case c.PreviousSecret != "" && len(c.PreviousSecret) < token.MinSecret:
		e.refuseHidden("HMAC_SECRET_PREVIOUS", len(c.PreviousSecret))
	}
}

// writable reports whether dir is there and files can be made in it.
func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".tmp-probe-*")
	if err != nil {
		return false
	}
	_ = f.Close()
	return os.Remove(f.Name()) == nil
}
