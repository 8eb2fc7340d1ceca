package channel

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
)

const (
	identityFile = "agent-listener.pem"
	lifetime     = 10 * 365 * 24 * time.Hour
	renewBefore  = 365 * 24 * time.Hour
)

// Identity is the listener's key and its self-signed certificate. Agents know the key by its pin; the certificate
// only carries it, and may be renewed.
type Identity struct {
	cert tls.Certificate
	pin  string
}

// LoadIdentity reads the identity kept in dir, or makes one at the first start. A certificate that ends within a year
// is renewed with the same key, so that pins on boot media stay good.
func LoadIdentity(dir string, now time.Time) (*Identity, error) {
	path := filepath.Join(dir, identityFile)
	text, err := os.ReadFile(path)
	var key *ecdsa.PrivateKey
	var der []byte
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, fmt.Errorf("make the agent listener's key: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("read the agent listener's key: %w", err)
	default:
		if key, der, err = parseIdentity(text); err != nil {
			return nil, fmt.Errorf("read the agent listener's key from %s: %w", path, err)
		}
	}
	if der == nil {
		if der, err = certify(key, now); err != nil {
			return nil, err
		}
	}
	leaf, err := x509.ParseCertificate(der)
	if err == nil && leaf.NotAfter.Sub(now) < renewBefore {
		if der, err = certify(key, now); err == nil {
			leaf, err = x509.ParseCertificate(der)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("agent listener's certificate: %w", err)
	}
	if err := saveIdentity(path, text, key, der); err != nil {
		return nil, fmt.Errorf("keep the agent listener's key: %w", err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return &Identity{
		cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		pin:  base64.StdEncoding.EncodeToString(sum[:]),
	}, nil
}

// Pins are what boot media carry: SHA-256 of the key's SPKI, base64.
func (i *Identity) Pins() []string { return []string{i.pin} }

// Certificate is what boot media carry with them, DER.
func (i *Identity) Certificate() []byte { return i.cert.Certificate[0] }

// TLS is the listener's configuration: version 1.3 only, HTTP/1.1, a client certificate in every handshake. The
// certificate is self-signed: it is not the name that counts but the key, to which the token is bound. Tickets are
// off, so that the key is proven again in each connection.
func (i *Identity) TLS() *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{i.cert},
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		NextProtos:             []string{"http/1.1"},
		VerifyConnection:       checkClient,
	}
}

// checkClient keeps clients from choosing keys that are dear to verify.
func checkClient(s tls.ConnectionState) error {
	leaf := s.PeerCertificates[0]
	if len(s.PeerCertificates) > 1 || len(leaf.Raw) > 4096 {
		return errors.New("the client certificate is not a small self-signed one")
	}
	switch k := leaf.PublicKey.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	}
	return errors.New("the client key is neither ECDSA P-256 nor Ed25519")
}

// Thumbprint is how a client certificate is known: SHA-256 of its DER, base64url without padding (RFC 8705 §3.1).
func Thumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func certify(key *ecdsa.PrivateKey, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make the agent listener's certificate: %w", err)
	}
	cert := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "bessemer agent listener"},
		DNSNames:     []string{api.ServerName},
		// A day back, so that a medium made by a server whose clock was then set back still fits.
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the agent listener's certificate: %w", err)
	}
	return der, nil
}

func parseIdentity(text []byte) (*ecdsa.PrivateKey, []byte, error) {
	var key *ecdsa.PrivateKey
	var der []byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			var ok bool
			if key, ok = k.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
				return nil, nil, errors.New("the key is not an ECDSA P-256 one")
			}
		case "CERTIFICATE":
			der = block.Bytes
		}
	}
	if key == nil {
		return nil, nil, errors.New("the file holds no private key; restore it from a backup, or remove it: ramdisks that are running then have to be booted again")
	}
	if der != nil {
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, err
		}
		if !key.PublicKey.Equal(leaf.PublicKey) {
			return nil, nil, errors.New("key and certificate do not belong together")
		}
	}
	return key, der, nil
}

// saveIdentity replaces the file in one act when its content is to change.
func saveIdentity(path string, old []byte, key *ecdsa.PrivateKey, der []byte) (err error) {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if string(text) == string(old) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), identityFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
