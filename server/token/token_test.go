package token

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func seed(b byte) []byte { return bytes.Repeat([]byte{b}, ed25519.SeedSize) }

func issuer(t testing.TB, keys ...Key) *Issuer {
	t.Helper()
	i, err := New("bessemer-test", keys...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func good() api.Claims {
	return api.Claims{Node: "6d6c8e1e-0000-4000-8000-000000000001", Generation: 7, Level: api.A1, Key: "thumb", ID: "one",
		Issued: start, Expires: start.Add(api.TokenLife)}
}

func TestTokenRoundTrip(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	text, err := i.Issue(good())
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > api.MaxToken/4 {
		t.Errorf("a token has %d bytes", len(text))
	}
	got, err := i.Verify(text, "thumb", start.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	got.Issued, got.Expires = got.Issued.UTC(), got.Expires.UTC()
	if got != good() {
		t.Errorf("got %+v, want %+v", got, good())
	}
}

func TestIssueFillsInAnID(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	c := good()
	c.ID = ""
	ids := map[string]bool{}
	for range 2 {
		text, err := i.Issue(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := i.Verify(text, "thumb", start)
		if err != nil || got.ID == "" || ids[got.ID] {
			t.Fatalf("id %q, %v", got.ID, err)
		}
		ids[got.ID] = true
	}
}

func TestIssueRefusesIncompleteClaims(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	for name, spoil := range map[string]func(*api.Claims){
		"node":       func(c *api.Claims) { c.Node = "" },
		"generation": func(c *api.Claims) { c.Generation = 0 },
		"key":        func(c *api.Claims) { c.Key = "" },
		"issued":     func(c *api.Claims) { c.Issued = time.Time{} },
		"no life":    func(c *api.Claims) { c.Expires = c.Issued },
		"long life":  func(c *api.Claims) { c.Expires = c.Expires.Add(time.Second) },
		"level":      func(c *api.Claims) { c.Level = 4 },
	} {
		c := good()
		spoil(&c)
		if text, err := i.Issue(c); err == nil {
			t.Errorf("%s: issued %s", name, text)
		}
	}
}

func TestNewRefusesBadKeys(t *testing.T) {
	for name, keys := range map[string][]Key{
		"none": nil, "short": {{Seed: []byte("x")}}, "twice": {{Seed: seed(1)}, {Seed: seed(1)}},
	} {
		if _, err := New("x", keys...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New("", Key{Seed: seed(1)}); err == nil {
		t.Error("an issuer without a name was made")
	}
}

// forge signs any header and payload with the issuer's own key.
func forge(t testing.TB, i *Issuer, header, payload map[string]any) string {
	t.Helper()
	part := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	text := part(header) + "." + part(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.signs.secret, []byte(text)))
}

func parts(i *Issuer) (header, payload map[string]any) {
	c := good()
	return map[string]any{"alg": "EdDSA", "typ": kind, "kid": i.signs.id},
		map[string]any{"iss": i.name, "aud": []string{audience}, "sub": string(c.Node), "gen": 7, "lvl": 1, "jti": "one",
			"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(api.TokenLife).Unix(), "cnf": map[string]any{"x5t#S256": "thumb"}}
}

// TestT02_EveryClaimWrongInTurn spoils one claim at a time in an otherwise good token signed with the right key.
func TestT02_EveryClaimWrongInTurn(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	header, payload := parts(i)
	if _, err := i.Verify(forge(t, i, header, payload), "thumb", start); err != nil {
		t.Fatalf("the unspoilt token is refused: %v", err)
	}
	type change struct {
		claim string
		value any
	}
	missing := any(nil)
	for _, c := range []change{
		{"iss", "another"}, {"iss", missing}, {"aud", "operator"}, {"aud", missing}, {"aud", []string{}},
		{"aud", []string{"agent", "operator"}}, {"sub", ""}, {"sub", missing}, {"gen", 0}, {"gen", missing}, {"gen", -1}, {"gen", "7"},
		{"gen", 1.5}, {"lvl", missing}, {"lvl", 4}, {"lvl", -1}, {"jti", ""}, {"jti", missing},
		{"iat", missing}, {"iat", start.Add(time.Minute).Unix()}, {"iat", start.Add(-time.Minute).Unix()},
		{"nbf", missing}, {"nbf", start.Add(time.Minute).Unix()},
		{"exp", missing}, {"exp", start.Add(-time.Minute).Unix()}, {"exp", start.Add(time.Hour).Unix()}, {"exp", 0},
		{"cnf", missing}, {"cnf", map[string]any{}}, {"cnf", map[string]any{"x5t#S256": ""}}, {"cnf", map[string]any{"x5t#S256": "other"}},
	} {
		h, p := parts(i)
		if c.value == missing {
			delete(p, c.claim)
		} else {
			p[c.claim] = c.value
		}
		if got, err := i.Verify(forge(t, i, h, p), "thumb", start); !fault.Has(err, fault.ChannelToken) {
			t.Errorf("%s = %v: got %+v, %v", c.claim, c.value, got, err)
		}
	}
}

// TestI18_TokenOfAnotherKeyOrTime is the same for what surrounds the token.
func TestI18_TokenOfAnotherKeyOrTime(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	text, err := i.Issue(good())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		peer string
		at   time.Time
		ok   bool
	}{
		"in time":          {"thumb", start.Add(api.TokenLife - time.Second), true},
		"within leeway":    {"thumb", start.Add(api.TokenLife + Leeway - time.Second), true},
		"after leeway":     {"thumb", start.Add(api.TokenLife + Leeway + time.Second), false},
		"before leeway":    {"thumb", start.Add(-Leeway - time.Second), false},
		"another key":      {"thumc", start, false},
		"no key":           {"", start, false},
		"a key's prefix":   {"thum", start, false},
		"F28 a year ahead": {"thumb", start.AddDate(10, 0, 0), false},
		"F28 a year back":  {"thumb", start.AddDate(-10, 0, 0), false},
	} {
		if _, err := i.Verify(text, c.peer, c.at); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestT03_Forgeries(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	other := issuer(t, Key{Seed: seed(2)})
	header, payload := parts(i)
	whole := forge(t, i, header, payload)
	head, body, _ := strings.Cut(whole, ".")
	body, sign, _ := strings.Cut(body, ".")
	with := func(change map[string]any) string {
		h, p := parts(i)
		for k, v := range change {
			if v == nil {
				delete(h, k)
			} else {
				h[k] = v
			}
		}
		return forge(t, i, h, p)
	}
	hmac := func(secret []byte) string {
		k := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(payload))
		k.Header["typ"], k.Header["kid"] = kind, i.signs.id
		text, err := k.SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	b64 := base64.RawURLEncoding
	for name, text := range map[string]string{
		"empty":               "",
		"dots":                "..",
		"two parts":           head + "." + body,
		"four parts":          whole + ".x",
		"alg none":            b64.EncodeToString([]byte(`{"alg":"none","typ":"agent+jwt","kid":"`+i.signs.id+`"}`)) + "." + body + ".",
		"alg none, signed":    with(map[string]any{"alg": "none"}),
		"alg missing":         with(map[string]any{"alg": nil}),
		"alg HS256 as is":     with(map[string]any{"alg": "HS256"}),
		"alg HS256 by public": hmac(i.signs.public),
		"alg HS256 by kid":    hmac([]byte(i.signs.id)),
		"alg lower case":      with(map[string]any{"alg": "eddsa"}),
		"typ JWT":             with(map[string]any{"typ": "JWT"}),
		"typ missing":         with(map[string]any{"typ": nil}),
		"kid unknown":         with(map[string]any{"kid": other.signs.id}),
		"kid missing":         with(map[string]any{"kid": nil}),
		"kid a number":        with(map[string]any{"kid": 1}),
		"kid a path":          with(map[string]any{"kid": "../../dev/null"}),
		"crit":                with(map[string]any{"crit": []string{"b64"}}),
		"jwk":                 with(map[string]any{"jwk": map[string]any{"kty": "OKP"}}),
		"another signer":      forge(t, other, header, payload),
		"signature cut":       whole[:len(whole)-2],
		"signature missing":   head + "." + body + ".",
		"signature of other":  head + "." + body + "." + strings.Split(forge(t, other, header, payload), ".")[2],
		"payload swapped":     head + "." + b64.EncodeToString([]byte(`{}`)) + "." + sign,
		"payload null":        head + "." + b64.EncodeToString([]byte(`null`)) + "." + sign,
		"padding":             head + "=." + body + "." + sign,
		"trailing bits":       whole[:len(whole)-1] + string(nextInAlphabet(whole[len(whole)-1])),
		"white space":         " " + whole,
		"huge":                whole + strings.Repeat("A", api.MaxToken),
	} {
		if got, err := i.Verify(text, "thumb", start); !fault.Has(err, fault.ChannelToken) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	for pos := 0; pos < len(whole); pos++ {
		text := []byte(whole)
		text[pos] ^= 1
		if _, err := i.Verify(string(text), "thumb", start); err == nil {
			t.Errorf("a token with byte %d altered is accepted", pos)
		}
	}
}

// nextInAlphabet changes only the unused low bits of a final base64 character (64 bytes leave 4 of them).
func nextInAlphabet(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)|1]
}

// TestF37_Rotation: a retired key verifies for the overlap, then no more; it never signs.
func TestF37_Rotation(t *testing.T) {
	old := issuer(t, Key{Seed: seed(1)})
	text, err := old.Issue(good())
	if err != nil {
		t.Fatal(err)
	}
	until := start.Add(10 * time.Minute)
	both := issuer(t, Key{Seed: seed(2)}, Key{Seed: seed(1), Until: until})
	if _, err := both.Verify(text, "thumb", until); err != nil {
		t.Errorf("inside the overlap: %v", err)
	}
	if _, err := both.Verify(text, "thumb", until.Add(time.Second)); err == nil {
		t.Error("a retired key verifies after the overlap")
	}
	fresh, err := both.Issue(good())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Verify(fresh, "thumb", start); err == nil {
		t.Error("the retired key signed")
	}
	if _, err := issuer(t, Key{Seed: seed(2)}).Verify(fresh, "thumb", start); err != nil {
		t.Errorf("the new key alone: %v", err)
	}
}

// FuzzZ2_Token: whatever comes in, nothing but a token that Issue made is accepted.
func FuzzZ2_Token(f *testing.F) {
	i := issuer(f, Key{Seed: seed(1)})
	text, err := i.Issue(good())
	if err != nil {
		f.Fatal(err)
	}
	header, payload := parts(i)
	delete(payload, "exp")
	for _, s := range []string{text, forge(f, i, header, payload), "", "..", "a.b.c", text + ".", strings.ToUpper(text),
		"eyJhbGciOiJub25lIn0.e30.", "e30.e30.e30", "bnVsbA.bnVsbA.AA"} {
		f.Add(s, "thumb", int64(0))
	}
	f.Fuzz(func(t *testing.T, s, peer string, shift int64) {
		now := start.Add(time.Duration(shift))
		c, err := i.Verify(s, peer, now)
		if err == nil {
			if s != text || peer != "thumb" || now.Before(start.Add(-Leeway)) || now.After(start.Add(api.TokenLife+Leeway)) {
				t.Fatalf("accepted %q of %q at %s: %+v", s, peer, now, c)
			}
		} else if !fault.Has(err, fault.ChannelToken) {
			t.Fatalf("the error is %v", err)
		}
	})
}

// TestI18_SignedTokensThatAreRefusedAllTheSame: a good signature is not enough. A token that is bound to no key fits no
// peer, not even one without a key, and what is longer than a token may be is not looked at (T3, I25).
func TestI18_SignedTokensThatAreRefusedAllTheSame(t *testing.T) {
	i := issuer(t, Key{Seed: seed(1)})
	h, p := parts(i)
	p["cnf"] = map[string]any{"x5t#S256": ""}
	if got, err := i.Verify(forge(t, i, h, p), "", start); !fault.Has(err, fault.ChannelToken) {
		t.Errorf("bound to no key: got %+v, %v", got, err)
	}
	h, p = parts(i)
	p["jti"] = strings.Repeat("j", api.MaxToken)
	text := forge(t, i, h, p)
	if got, err := i.Verify(text, "thumb", start); !fault.Has(err, fault.ChannelToken) {
		t.Errorf("%d bytes: got %+v, %v", len(text), got, err)
	}
	p["jti"] = "one"
	if _, err := i.Verify(forge(t, i, h, p), "thumb", start); err != nil {
		t.Errorf("the same token, short: %v", err)
	}
}
