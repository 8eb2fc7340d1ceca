package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/bessemer-metal/bessemer/server/boot"
	"github.com/bessemer-metal/bessemer/server/channel"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// programs is where machines' firmware loads the ramdisk over HTTPS. The zero one is not there.
type programs struct {
	ln    net.Listener // nil also when its port is taken
	base  string       // its URL as firmware reaches it; "" when no such listener is set up
	chain [][]byte     // the certificate, and those that signed it, DER
}

// url makes the addresses of ramdisks; nil when none are served so.
func (p programs) url() func(token string) string {
	if p.base == "" {
		return nil
	}
	return func(token string) string { return boot.ProgramURL(p.base, token) }
}

// firmwareSuites are what is spoken there beside TLS 1.3. Firmware in the field often knows no elliptic curves, and Go no finite-field
// Diffie-Hellman, so that an RSA key exchange is what the two have in common: what it guards is of use for one boot, and over by the
// time that a key could be broken.
var firmwareSuites = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
}

// What one address may cost: a handshake is some milliseconds of a processor, and an open connection a file, of which the store, operators and
// agents need their own. A boot takes two or three, and a rack may stand behind one address.
const (
	firmwareRate  = 20 // handshakes a second
	firmwareBurst = 200
	firmwareConns = 64 // at once
)

func firmwareLimits() channel.Limits {
	return channel.Limits{AddressConns: firmwareConns, Conns: channel.DefaultLimits().Conns / 8, DialRate: firmwareRate, DialBurst: firmwareBurst}
}

// listenPrograms opens the listener, with the operator's certificate or one made on the first start, if one is set up.
func (s *server) listenPrograms() (p programs, err error) {
	cfg := s.cfg
	if cfg.BootTLSListen == "" {
		return p, nil
	}
	p.ln, p.base = s.listen("ramdisks over HTTPS", "--boot-tls-listen", cfg.BootTLSListen, "https", cfg.AdvertiseBootTLS)
	certFile, keyFile := programFiles(cfg)
	if cfg.BootTLSCert == "" && !exists(certFile) {
		key, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			return p, fmt.Errorf("make a key for HTTPS boot: %w", err)
		}
		if err := selfSignedBy(key, certFile, keyFile, p.base, s.now()); err != nil {
			return p, fmt.Errorf("make a certificate for HTTPS boot: %w", err)
		}
		s.log.Info("made a certificate for HTTPS boot; let the machines' firmware trust it", "file", certFile)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return p, fmt.Errorf("load the certificate for HTTPS boot: %w", err)
	}
	if _, isRSA := cert.PrivateKey.(*rsa.PrivateKey); !isRSA {
		return p, fmt.Errorf("the certificate for HTTPS boot, %s, is not an RSA one, which machines' firmware needs; give boot_tls_cert and boot_tls_key of another kind", certFile)
	}
	p.chain = cert.Certificate
	if p.ln != nil {
		p.ln = tls.NewListener(moving{channel.Limited(p.ln, machines, firmwareLimits(), s.now, s.log), s.now}, &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, CipherSuites: firmwareSuites,
		})
	}
	return p, nil
}

// servable tells why a file can't be served as the ramdisk of a boot; find finds the place in it for the boot's configuration.
func servable(file, what string, find func(io.ReaderAt) (offset, length int64, err error)) error {
	build := "bessemer ramdisk build --output " + filepath.Dir(file)
	f, err := os.Open(file)
	if err != nil {
		return fault.New(fault.BootNoRamdisk, "the server has no ramdisk to boot the machine with: its %s can't be read: %v", what, err).WithHint("%s", build)
	}
	defer f.Close()
	if _, _, err := find(f); err != nil {
		return fault.New(fault.BootNoRamdisk, "the ramdisk's %s at %s can't carry the configuration of a boot: %v", what, file, err).WithHint("build it anew: %s", build)
	}
	return nil
}

// programFiles are the files of the certificate and key for HTTPS boot.
func programFiles(cfg config.Server) (cert, key string) {
	if cfg.BootTLSCert != "" {
		return cfg.BootTLSCert, cfg.BootTLSKey
	}
	return filepath.Join(cfg.DataDir, "boot.crt"), filepath.Join(cfg.DataDir, "boot.key")
}

func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// names tells why a certificate is not one of this host; nil when it is.
func names(chain [][]byte, host string) error {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	return leaf.VerifyHostname(host)
}
