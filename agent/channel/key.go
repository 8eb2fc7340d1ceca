package channel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// keyFile is kept so that the next process of this boot is the same client: another key would contest the node.
const keyFile = "agent-key.pem"

// LoadKey gives the client key of this boot: made at first, then read from dir, which must be on tmpfs. The file is
// readable by its owner only and never leaves the machine (safety.md §2.4). A file that can't be read is an error,
// not a reason for a new key.
func LoadKey(dir string) (tls.Certificate, error) {
	path := filepath.Join(dir, keyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = makeKey(); err == nil {
			err = keepKey(path, text)
		}
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client key: %w", err)
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client key in %s: %w", path, err)
	}
	return cert, nil
}

// NewKey makes a client key that is kept nowhere: for an agent whose process is its whole boot, as a simulated one's.
func NewKey() (tls.Certificate, error) {
	text, err := makeKey()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client key: %w", err)
	}
	return tls.X509KeyPair(text, text)
}

// makeKey makes a key and its certificate, as one PEM text. The certificate is valid for all time: the machine's
// clock may say anything, and the server looks at nothing in it but the key.
func makeKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "bessemer agent"},
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...), nil
}

// keepKey makes the whole file appear in one act.
func keepKey(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), keyFile+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
