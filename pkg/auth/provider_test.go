package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"pulsevault/pkg/auth"
	"pulsevault/pkg/vault"
)

// provider is an OpenID provider on this machine.
type provider struct {
	*httptest.Server
	mu      sync.Mutex
	keys    map[string]crypto.Signer // by kid: those that it publishes
	away    bool
	fetched int // how often its keys were
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{keys: map[string]crypto.Signer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		p.fetched++
		var set jose.JSONWebKeySet
		for kid, k := range p.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Use: "sig"})
		}
		p.mu.Unlock()
		p.answer(w, set)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) answer(w http.ResponseWriter, v any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		http.Error(w, "away", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// accepts is what our side accepts of it.
func (p *provider) accepts(c *clock) *auth.Provider {
	return auth.NewProvider(auth.ProviderConfig{
		Issuer: p.URL, Audience: "pulsevault", NameClaim: "sub", RolesClaim: "realm_access.roles", Now: c.Now, Log: slog.New(slog.DiscardHandler),
	})
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// claims of a good token, with changes; nil takes one away.
func (p *provider) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.URL, "aud": []string{"account", "pulsevault"}, "sub": "ann", "iat": start.Unix(), "exp": start.Add(time.Hour).Unix(),
		"realm_access": map[string]any{"roles": []string{"uploader", "offline_access"}},
	}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

func signers(t *testing.T) (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

func TestTokensOfAProvider(t *testing.T) {
	p, c := startProvider(t), &clock{now: start}
	r, e := signers(t)
	stranger, _ := signers(t)
	p.keys["r"], p.keys["e"] = r, e
	ours := p.accepts(c)
	for name, token := range map[string]string{
		"RS256": sign(t, jose.RS256, r, "r", p.claims(nil)), "ES256": sign(t, jose.ES256, e, "e", p.claims(nil)),
		"ended just now, by our clock": sign(t, jose.RS256, r, "r", p.claims(map[string]any{"exp": start.Add(-50 * time.Second).Unix()})),
		"begins soon, by our clock":    sign(t, jose.RS256, r, "r", p.claims(map[string]any{"nbf": start.Add(50 * time.Second).Unix()})),
	} {
		caller, err := ours.Authenticate(t.Context(), token)
		if err != nil || caller.Name != "ann" || len(caller.Roles) != 1 || !caller.Has(auth.Uploader) || caller.KeyID != "" || caller.Open() {
			t.Errorf("%s: %+v, %v", name, caller, err)
		}
	}
	public, err := x509.MarshalPKIXPublicKey(&r.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	good := sign(t, jose.RS256, r, "r", p.claims(nil))
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	body, _ := json.Marshal(p.claims(map[string]any{"sub": "root"}))
	for name, tc := range map[string]struct {
		token string
		want  auth.Refusal
	}{
		"nothing":               {"", auth.NoCredential},
		"no token":              {"pv_0badc0de_x", auth.Malformed},
		"no base64":             {"a.b.c", auth.NotGenuine},
		"expired":               {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"exp": start.Add(-61 * time.Second).Unix()})), auth.TokenExpired},
		"without an end":        {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"exp": nil})), auth.TokenExpired},
		"not yet":               {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"nbf": start.Add(61 * time.Second).Unix()})), auth.NotYet},
		"for somebody else":     {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"aud": "account"})), auth.NotGenuine},
		"for nobody":            {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"aud": nil})), auth.NotGenuine},
		"another issuer":        {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"iss": "https://evil.example"})), auth.NotGenuine},
		"nobody's name":         {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"sub": nil})), auth.NoName},
		"a name with a newline": {sign(t, jose.RS256, r, "r", p.claims(map[string]any{"sub": "a\nb"})), auth.NoName},
		"another's key":         {sign(t, jose.RS256, stranger, "r", p.claims(nil)), auth.NotGenuine},
		"another's key's name":  {sign(t, jose.RS256, stranger, "x", p.claims(nil)), auth.NotGenuine},
		"alg none":              {encode([]byte(`{"alg":"none","kid":"r"}`)) + "." + encode(body) + ".", auth.NotGenuine},
		"HS256, public key":     {sign(t, jose.HS256, public, "r", p.claims(nil)), auth.NotGenuine},
		"other claims":          {parts[0] + "." + encode(body) + "." + parts[2], auth.NotGenuine},
		"no signature":          {parts[0] + "." + parts[1] + ".", auth.NotGenuine},
	} {
		t.Run(name, func(t *testing.T) { refused(t, ours, tc.token, tc.want) })
	}
	if caller, err := ours.Authenticate(t.Context(), sign(t, jose.RS256, r, "r", p.claims(map[string]any{"realm_access": "admin"}))); err != nil || caller.Roles != nil {
		t.Errorf("roles elsewhere: %+v, %v", caller, err)
	}
}

// A new key is fetched when a token of it comes; an old one is good for nothing once it is withdrawn; and strangers do not make
// us ask the provider for each of their tokens.
func TestKeysOfAProviderRotate(t *testing.T) {
	p, c := startProvider(t), &clock{now: start}
	first, _ := signers(t)
	second, _ := signers(t)
	p.keys["1"] = first
	ours := p.accepts(c)
	old := sign(t, jose.RS256, first, "1", p.claims(nil))
	if _, err := ours.Authenticate(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.keys = map[string]crypto.Signer{"2": second} })
	c.pass(time.Minute)
	if _, err := ours.Authenticate(t.Context(), sign(t, jose.RS256, second, "2", p.claims(nil))); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	// go-oidc answers with the new keys a moment before it forgets the old ones, and what was genuine then is so for a minute.
	for range 3 {
		if _, err := ours.Authenticate(t.Context(), old); err == nil {
			time.Sleep(100 * time.Millisecond)
			c.pass(time.Minute)
		}
	}
	refused(t, ours, old, auth.NotGenuine)
	before := p.fetched
	for range 100 {
		refused(t, ours, sign(t, jose.RS256, second, "3", p.claims(nil)), auth.NotGenuine)
	}
	if n := p.fetched - before; n > 1 {
		t.Errorf("100 tokens of no key have us ask the provider %d times", n)
	}
}

// A provider that is away at the start stops nothing, nor does one that goes: tokens of its known keys are good.
func TestAProviderMayBeAway(t *testing.T) {
	p, c := startProvider(t), &clock{now: start}
	r, _ := signers(t)
	p.keys["r"], p.away = r, true
	ours := p.accepts(c)
	token := sign(t, jose.RS256, r, "r", p.claims(nil))
	if _, err := ours.Authenticate(t.Context(), token); vault.KindOf(err) != vault.Unavailable {
		t.Errorf("while the provider is away: %v", err)
	}
	p.set(func() { p.away = false })
	c.pass(2 * time.Second)
	if _, err := ours.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.away = true })
	c.pass(2 * time.Minute)
	if _, err := ours.Authenticate(t.Context(), token); err != nil {
		t.Errorf("a token of a known key: %v", err)
	}
	if _, err := ours.Authenticate(t.Context(), sign(t, jose.RS256, r, "new", p.claims(nil))); vault.KindOf(err) != vault.Unavailable {
		t.Errorf("a token of a key that cannot be looked up: %v", err)
	}
}

// What is remembered of a token ends with it.
func TestATokenEndsThoughItIsRemembered(t *testing.T) {
	p, c := startProvider(t), &clock{now: start}
	_, e := signers(t)
	p.keys["e"] = e
	ours := p.accepts(c)
	token := sign(t, jose.ES256, e, "e", p.claims(map[string]any{"exp": start.Add(-30 * time.Second).Unix()}))
	if _, err := ours.Authenticate(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	c.pass(31 * time.Second)
	refused(t, ours, token, auth.TokenExpired)
}

// 10,000 tokens that say or are signed as something else than a good one are refused, and none has us ask the provider more
// than once in its time.
func TestNoOtherTokenIsAccepted(t *testing.T) {
	p, c := startProvider(t), &clock{now: start}
	r, e := signers(t)
	p.keys["r"], p.keys["e"] = r, e
	ours := p.accepts(c)
	good := []string{sign(t, jose.RS256, r, "r", p.claims(nil)), sign(t, jose.ES256, e, "e", p.claims(nil))}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	random := mathrand.New(mathrand.NewPCG(3, 4))
	tried := 0
	for i := 0; tried < 10_000; i++ {
		token := []byte(good[i%2])
		from, to := random.IntN(len(token)), len(token) // everything behind that, or
		if i%4 < 2 {
			to = from + 1 // one character
		}
		for j := from; j < to; j++ {
			token[j] = letters[random.IntN(len(letters))]
		}
		if sameBytes(string(token), good[i%2]) {
			continue
		}
		tried++
		if caller, err := ours.Authenticate(t.Context(), string(token)); err == nil || caller.Name != "" || caller.Roles != nil {
			t.Fatalf("%s is accepted as %+v", token, caller)
		}
	}
	if p.fetched > 1 {
		t.Errorf("the provider was asked %d times", p.fetched)
	}
}

// sameBytes reports whether two tokens are the same but for bits of base64 that stand for nothing.
func sameBytes(a, b string) bool {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	return slices.EqualFunc(left, right, func(x, y string) bool {
		dx, errX := base64.RawURLEncoding.DecodeString(x)
		dy, errY := base64.RawURLEncoding.DecodeString(y)
		return errX == nil && errY == nil && bytes.Equal(dx, dy)
	})
}
