package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"pulsevault/pkg/vault"
)

const (
	// skew is how far the provider's clock and ours may be apart.
	skew = time.Minute
	// provenFor is for how long a token that was found to be genuine is not looked into again.
	provenFor = time.Minute
	// maxProven bounds how many such tokens are remembered.
	maxProven = 4096
	// maxToken is how many bytes a token may have. Some carry all groups of their bearer.
	maxToken = 16 << 10
)

// algorithms are those by which a provider may sign: with a key that is not also the key to check it.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// ProviderConfig says whose tokens are accepted and what they say. NameClaim and RolesClaim may be paths with dots.
type ProviderConfig struct {
	Issuer, Audience      string
	NameClaim, RolesClaim string
	Now                   func() time.Time // nil is time.Now
	Log                   *slog.Logger
}

// Provider accepts JSON Web Tokens (RFC 7519) of a provider of OpenID Connect. Where the provider's keys are is asked of it
// (OpenID Connect Discovery 1.0, section 4) when the first token comes, and again until it answers; a token with a key that is
// not known yet has them fetched again, every 10 seconds at most. While that cannot be done, tokens of known keys are accepted, and
// others are answered with an error of the kind Unavailable.
type Provider struct {
	cfg    ProviderConfig
	client *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier            // nil until the provider has told of itself
	proven   map[[sha256.Size]byte]provenance // of tokens
}

type provenance struct {
	caller Caller
	until  time.Time
}

// NewProvider returns a Provider. It asks nobody anything yet.
func NewProvider(cfg ProviderConfig) *Provider {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Provider{
		cfg:    cfg,
		client: &http.Client{Transport: &sparing{next: http.DefaultTransport, now: cfg.Now}, Timeout: fetchTimeout},
		proven: map[[sha256.Size]byte]provenance{},
	}
}

// Authenticate returns whom a token names.
func (p *Provider) Authenticate(ctx context.Context, credential string) (Caller, error) {
	switch {
	case credential == "":
		return Caller{}, NoCredential
	case len(credential) > maxToken || strings.Count(credential, ".") != 2:
		return Caller{}, Malformed
	}
	sum, now := sha256.Sum256([]byte(credential)), p.cfg.Now()
	if c, ok := p.remembered(sum, now); ok {
		return c, nil
	}
	verifier, err := p.discovered(ctx)
	if err != nil {
		return Caller{}, p.away(ctx, err)
	}
	var outcome fetchOutcome
	token, err := verifier.Verify(context.WithValue(ctx, outcomeKey{}, &outcome), credential)
	if outcome.err != nil {
		return Caller{}, p.away(ctx, outcome.err)
	}
	if err != nil {
		return Caller{}, refusalOf(err)
	}
	c, err := p.read(token, now)
	if err == nil {
		p.remember(sum, provenance{c, earlier(token.Expiry.Add(skew), now.Add(provenFor))})
	}
	return c, err
}

func refusalOf(err error) error {
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		return TokenExpired
	}
	return NotGenuine
}

func (p *Provider) away(ctx context.Context, err error) error {
	p.cfg.Log.WarnContext(ctx, "the OpenID provider cannot be asked", "issuer", p.cfg.Issuer, "error", err)
	return vault.Errorf(vault.Unavailable, "provider_unavailable", "the provider of your token cannot be asked now; try again").Because(err)
}

func (p *Provider) remembered(sum [sha256.Size]byte, now time.Time) (Caller, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.proven[sum]
	return known.caller, ok && now.Before(known.until)
}

func (p *Provider) remember(sum [sha256.Size]byte, known provenance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.proven) >= maxProven {
		clear(p.proven)
	}
	p.proven[sum] = known
}

// discovered returns what verifies the provider's tokens, having asked where its keys are if nobody has.
func (p *Provider) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	p.mu.Lock()
	verifier := p.verifier
	p.mu.Unlock()
	if verifier != nil {
		return verifier, nil
	}
	asking := oidc.ClientContext(context.WithoutCancel(ctx), p.client)
	provider, err := oidc.NewProvider(asking, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var at struct {
		KeysURL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&at); err != nil {
		return nil, err
	}
	verifier = oidc.NewVerifier(p.cfg.Issuer, keySet{oidc.NewRemoteKeySet(asking, at.KeysURL)}, &oidc.Config{
		ClientID: p.cfg.Audience, SupportedSigningAlgs: algorithms,
		Now: func() time.Time { return p.cfg.Now().Add(-skew) },
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verifier = verifier
	return verifier, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
