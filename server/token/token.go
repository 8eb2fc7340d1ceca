// Package token issues and checks the node tokens of the agent channel (safety.md §2.5): JWTs signed with EdDSA,
// bound to a node, a boot generation and a client key. It keeps no list of tokens and never decides whether a node's
// generation still stands: a valid token is necessary, never sufficient, and the conductor asks the rest.
//
// Start at Verify.
package token

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	audience = "agent"
	kind     = "agent+jwt"
	// Leeway is how far the clocks of two servers, or of one before and after an NTP step, may be apart.
	Leeway = 30 * time.Second
	// Overlap is how long a retired key must go on verifying: the longest life of a token signed with it.
	Overlap = api.TokenLife + Leeway
)

// Key is one signing key. Until is when a retired key stops verifying; zero for the key in use.
type Key struct {
	Seed  []byte // 32 bytes
	Until time.Time
}

// Issuer issues and verifies tokens. It may be used by several goroutines.
type Issuer struct {
	name  string
	signs *pair
	ring  map[string]*pair // by kid
}

type pair struct {
	id     string
	secret ed25519.PrivateKey
	public ed25519.PublicKey
	until  time.Time
}

// New makes an issuer of the given name (the iss claim: one per installation). The first key signs, all verify. To
// rotate, put a new key in front and let the old one verify for Overlap longer.
func New(name string, keys ...Key) (*Issuer, error) {
	if name == "" || len(keys) == 0 {
		return nil, errors.New("make token issuer: it needs a name and at least one key")
	}
	i := &Issuer{name: name, ring: map[string]*pair{}}
	for n, k := range keys {
		if len(k.Seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("make token issuer: key %d has a seed of %d bytes, not %d", n, len(k.Seed), ed25519.SeedSize)
		}
		p := &pair{secret: ed25519.NewKeyFromSeed(k.Seed), until: k.Until}
		p.public = p.secret.Public().(ed25519.PublicKey)
		sum := sha256.Sum256(p.public)
		p.id = base64.RawURLEncoding.EncodeToString(sum[:12])
		if i.ring[p.id] != nil {
			return nil, fmt.Errorf("make token issuer: key %d is given twice", n)
		}
		i.ring[p.id] = p
		if n == 0 {
			i.signs = p
		}
	}
	return i, nil
}

// claims are the JWT's. The pointers tell a claim that is missing from one that is zero.
type claims struct {
	jwt.RegisteredClaims
	Generation   *uint64       `json:"gen"`
	Level        *api.Level    `json:"lvl"`
	Confirmation *confirmation `json:"cnf"`
}

type confirmation struct {
	Thumbprint string `json:"x5t#S256"`
}

// Issue signs a token for c. An empty ID is filled in. Expires may be at most api.TokenLife after Issued.
func (i *Issuer) Issue(c api.Claims) (string, error) {
	if c.ID == "" {
		c.ID = rand.Text()
	}
	life := c.Expires.Sub(c.Issued)
	if c.Node == "" || c.Generation == 0 || c.Key == "" || c.Issued.IsZero() || life <= 0 || life > api.TokenLife {
		return "", fmt.Errorf("issue token for node %q: a claim is missing or the life of %s is outside 0 to %s", c.Node, life, api.TokenLife)
	}
	if !c.Level.Known() {
		return "", fmt.Errorf("issue token for node %q: there is no level %d", c.Node, c.Level)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.name, Subject: string(c.Node), Audience: jwt.ClaimStrings{audience}, ID: c.ID,
			IssuedAt: jwt.NewNumericDate(c.Issued), NotBefore: jwt.NewNumericDate(c.Issued), ExpiresAt: jwt.NewNumericDate(c.Expires),
		},
		Generation: &c.Generation, Level: &c.Level, Confirmation: &confirmation{c.Key},
	})
	t.Header["typ"], t.Header["kid"] = kind, i.signs.id
	text, err := t.SignedString(i.signs.secret)
	if err != nil {
		return "", fmt.Errorf("issue token for node %q: %w", c.Node, err)
	}
	return text, nil
}

// Verify gives the claims of a token that is ours, alive at now and presented by the holder of the key it is bound
// to (peerKey, as in api.Claims.Key). Everything else is channel.token; what was wrong is in the fault's cause only.
func (i *Issuer) Verify(text, peerKey string, now time.Time) (api.Claims, error) {
	c, err := i.verify(text, peerKey, now)
	if err != nil {
		return api.Claims{}, fault.New(fault.ChannelToken, "the token is not accepted").Because(err)
	}
	return c, nil
}

func (i *Issuer) verify(text, peerKey string, now time.Time) (api.Claims, error) {
	if len(text) > api.MaxToken {
		return api.Claims{}, fmt.Errorf("token of %d bytes: more than %d", len(text), api.MaxToken)
	}
	var got claims
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(),
		jwt.WithAudience(audience), jwt.WithIssuer(i.name),
		jwt.WithStrictDecoding(), jwt.WithLeeway(Leeway),
		jwt.WithTimeFunc(func() time.Time { return now }),
	)
	if _, err := parser.ParseWithClaims(text, &got, func(t *jwt.Token) (any, error) { return i.key(t.Header, now) }); err != nil {
		return api.Claims{}, err
	}
	switch {
	case got.IssuedAt == nil || got.Subject == "" || got.ID == "" || got.Generation == nil || *got.Generation == 0 ||
		got.Level == nil || got.Confirmation == nil || got.Confirmation.Thumbprint == "":
		return api.Claims{}, errors.New("a required claim is missing")
	case len(got.Audience) != 1:
		return api.Claims{}, errors.New("the token has several audiences")
	case !got.Level.Known():
		return api.Claims{}, fmt.Errorf("there is no level %d", *got.Level)
	case got.ExpiresAt.Sub(got.IssuedAt.Time) > api.TokenLife:
		return api.Claims{}, fmt.Errorf("the token lives longer than %s", api.TokenLife)
	case subtle.ConstantTimeCompare([]byte(got.Confirmation.Thumbprint), []byte(peerKey)) != 1:
		return api.Claims{}, errors.New("the token is bound to another client key")
	}
	return api.Claims{
		Node: api.NodeID(got.Subject), Generation: *got.Generation, Level: *got.Level, Key: got.Confirmation.Thumbprint,
		ID: got.ID, Issued: got.IssuedAt.Time, Expires: got.ExpiresAt.Time,
	}, nil
}

// key selects the verification key by a header that holds exactly what ours hold: an unknown member (crit, jwk, jku)
// could ask for something that is not done here.
func (i *Issuer) key(header map[string]any, now time.Time) (any, error) {
	if len(header) != 3 || header["typ"] != kind {
		return nil, errors.New("the header is not that of an agent's token")
	}
	id, _ := header["kid"].(string)
	p := i.ring[id]
	if p == nil {
		return nil, errors.New("the key id is not known")
	}
	if !p.until.IsZero() && now.After(p.until) {
		return nil, errors.New("the key is retired")
	}
	return p.public, nil
}
