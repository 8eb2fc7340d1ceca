package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/initramfs/media/mediatest"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func programServer(t *testing.T, change func(*config.Server)) *server {
	t.Helper()
	s := &server{cfg: config.Server{DataDir: t.TempDir(), BootTLSListen: "127.0.0.1:0", AdvertiseBootTLS: "boot.example"}, now: time.Now, log: slog.New(slog.DiscardHandler)}
	change(&s.cfg)
	return s
}

// What firmware of today can do: TLS 1.2 without elliptic curves, a certificate that it was given, the name in the address.
func TestFirmwareTrustsTheCertificateThatWasMade(t *testing.T) {
	s := programServer(t, func(*config.Server) {})
	p, err := s.listenPrograms()
	if err != nil {
		t.Fatal(err)
	}
	defer p.ln.Close()
	go func() {
		for {
			c, err := p.ln.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake() //nolint:errcheck // the client tells
			c.Close()
		}
	}()
	file := filepath.Join(s.cfg.DataDir, "boot.crt")
	made, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made)
	for name, c := range map[string]struct {
		suite   uint16
		version uint16
		host    string
		works   bool
	}{
		"old firmware":      {tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, "boot.example", true},
		"newer firmware":    {tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.VersionTLS12, "boot.example", true},
		"TLS 1.3":           {0, tls.VersionTLS13, "boot.example", true},
		"TLS 1.1":           {tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.VersionTLS11, "boot.example", false},
		"no authentication": {tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.VersionTLS12, "boot.example", false},
		"another name":      {tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.VersionTLS12, "elsewhere.example", false},
	} {
		conf := &tls.Config{RootCAs: roots, ServerName: c.host, MinVersion: tls.VersionTLS10, MaxVersion: c.version}
		if c.suite != 0 {
			conf.CipherSuites = []uint16{c.suite}
		}
		conn, err := tls.Dial("tcp", p.ln.Addr().String(), conf)
		if (err == nil) != c.works {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if got := p.url()("token"); !strings.HasPrefix(got, "https://boot.example:") || len(p.chain) != 1 {
		t.Errorf("the address is %s, the chain has %d certificates", got, len(p.chain))
	}
	again, err := s.listenPrograms()
	if err != nil {
		t.Fatal(err)
	}
	defer again.ln.Close()
	if kept, err := os.ReadFile(file); err != nil || string(kept) != string(made) {
		t.Errorf("another start makes another certificate: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(s.cfg.DataDir, "boot.key")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", fi, err)
	}
}

// A flood from one address, of handshakes or of connections that say nothing, costs neither a processor nor all files, and leaves others
// alone.
func TestT6_I25_ConnectionsOfOneAddressAreLimited(t *testing.T) {
	var passed atomic.Int64
	began := time.Now()
	s := programServer(t, func(*config.Server) {})
	s.now = func() time.Time { return began.Add(time.Duration(passed.Load())) }
	p, err := s.listenPrograms()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer p.ln.Close()
	left := make(chan struct{}, 2*firmwareBurst)
	wg.Go(func() {
		for {
			c, err := p.ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { c.Close(); left <- struct{}{} }()
				c.(*tls.Conn).Handshake() //nolint:errcheck // the client tells
				io.Copy(io.Discard, c)    //nolint:errcheck // until the client is gone
			})
		}
	})
	made, err := os.ReadFile(filepath.Join(s.cfg.DataDir, "boot.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made)
	from := func(host string) net.Dialer {
		return net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	}
	shakes := func(host string) (net.Conn, error) {
		d := from(host)
		return tls.DialWithDialer(&d, "tcp", p.ln.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "boot.example", CipherSuites: firmwareSuites, MaxVersion: tls.VersionTLS12})
	}
	for i := range firmwareBurst {
		c, err := shakes("127.0.0.7")
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		c.Close()
		<-left
	}
	if c, err := shakes("127.0.0.7"); err == nil {
		c.Close()
		t.Error("an address may connect without end")
	}
	passed.Add(int64(time.Second))
	if c, err := shakes("127.0.0.7"); err != nil {
		t.Errorf("a second later: %v", err)
	} else {
		c.Close()
	}

	silent := from("127.0.0.9")
	for range firmwareConns {
		c, err := silent.DialContext(t.Context(), "tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if c, err := shakes("127.0.0.9"); err == nil {
		c.Close()
		t.Error("an address may hold any number of connections")
	}
	c, err := shakes("127.0.0.8")
	if err != nil {
		t.Fatalf("another address: %v", err)
	}
	c.Close()
}

func TestHTTPSBootsCertificateIsChecked(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	if err := selfSigned(cert, key, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	s := programServer(t, func(c *config.Server) { c.BootTLSCert, c.BootTLSKey = cert, key })
	if _, err := s.listenPrograms(); err == nil || !strings.Contains(err.Error(), "RSA") {
		t.Errorf("a certificate that firmware can't use: %v", err)
	}
	s.cfg.BootTLSKey = filepath.Join(dir, "absent")
	if _, err := s.listenPrograms(); err == nil {
		t.Error("a key that is not there is no error")
	}

	s = programServer(t, func(*config.Server) {})
	p, err := s.listenPrograms()
	if err != nil {
		t.Fatal(err)
	}
	defer p.ln.Close()
	c := checker{cfg: s.cfg, now: time.Now, programs: p}
	right(t, c.bootCertificate(), true, "its key fits")
	c.programs.base = "https://moved.example:6388"
	right(t, c.bootCertificate(), false, "moved.example")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := selfSignedBy(other, filepath.Join(s.cfg.DataDir, "x"), filepath.Join(s.cfg.DataDir, "boot.key"), "", time.Now()); err != nil {
		t.Fatal(err)
	}
	right(t, c.bootCertificate(), false, "private key")
}

// Without the setting there is nothing; with a port that is taken, and without a program to serve, it is told what is missing.
func TestHTTPSBootThatIsNotThere(t *testing.T) {
	s := programServer(t, func(c *config.Server) { c.BootTLSListen = "" })
	p, err := s.listenPrograms()
	if err != nil || p.ln != nil || p.url() != nil || p.chain != nil {
		t.Errorf("%+v, %v", p, err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s = programServer(t, func(c *config.Server) {
		c.BootTLSListen, c.BaseProgram = taken.Addr().String(), filepath.Join(c.DataDir, "bessemer.efi")
	})
	if p, err = s.listenPrograms(); err != nil || p.ln != nil || p.url() == nil {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := s.canBoot(drivers.HTTPBoot, taken, taken, p); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("a port that is taken: %v", err)
	}
	p.ln = taken
	if err := s.canBoot(drivers.HTTPBoot, taken, taken, p); err == nil || !strings.Contains(err.Error(), "bessemer.efi") {
		t.Errorf("no program: %v", err)
	}
	// One that an older release has built, and one that is well.
	none, well := string(mediatest.Program([]byte("an initramfs"), 0)), string(mediatest.Program([]byte("an initramfs"), api.RegionSize))
	for text, works := range map[string]bool{none: false, well: true} {
		if err := os.WriteFile(s.cfg.BaseProgram, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.canBoot(drivers.HTTPBoot, taken, taken, p); (err == nil) != works || err != nil && !strings.Contains(err.Error(), "no boot region") {
			t.Errorf("a program of %d bytes: %v", len(text), err)
		}
	}
	if err := s.canBoot(drivers.HTTPBoot, nil, taken, p); err == nil {
		t.Error("no agent channel, and all is well")
	}
}

// What a boot needs is known by its boot interface: a medium is made of the ISO, the firmware loads the program, and nothing real is
// booted by fake.
func TestABootNeedsItsRamdisk(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	s := programServer(t, func(c *config.Server) {
		c.BaseISO, c.BaseProgram = filepath.Join(c.DataDir, "ramdisk", "bessemer.iso"), filepath.Join(c.DataDir, "ramdisk", "bessemer.efi")
	})
	dir := filepath.Dir(s.cfg.BaseISO)
	p := programs{ln: ln}
	lacks := func(by, says string) {
		t.Helper()
		switch f := fault.From(s.canBoot(by, ln, ln, p)); {
		case says == "" && f != nil:
			t.Errorf("%s: %v", by, f)
		case says != "" && (f == nil || f.Reason != fault.BootNoRamdisk || !strings.Contains(f.Error(), says) || !strings.HasSuffix(f.Hint, "bessemer ramdisk build --output "+dir)):
			t.Errorf("%s: got %+v, expected %q", by, f, says)
		}
	}
	lacks(drivers.VirtualMedia, "bessemer.iso")
	lacks(drivers.HTTPBoot, "bessemer.efi")
	lacks(drivers.Fake, "")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := media.RegionISO(s.cfg.BaseISO, make([]byte, api.RegionSize)); err != nil {
		t.Fatal(err)
	}
	lacks(drivers.VirtualMedia, "")
	lacks(drivers.HTTPBoot, "bessemer.efi")
	if err := os.Rename(s.cfg.BaseISO, s.cfg.BaseProgram); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.cfg.BaseISO, []byte("of something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	lacks(drivers.VirtualMedia, "bessemer.iso")
	if err := s.canBoot(drivers.Fake, ln, nil, p); !fault.Has(err, fault.FlowListener) {
		t.Errorf("no boot listener: %v", err)
	}
}

// A server that was started without a ramdisk tells so of a real machine, and not of a fake one.
func TestValidateTellsThatThereIsNoRamdisk(t *testing.T) {
	cfg := settings(t)
	r := start(t, cfg)
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "real", "driver": "redfish", "driver_info": map[string]any{
		"redfish_address": "https://192.0.2.10", "redfish_username": "admin", "redfish_password": "secret"}})
	r.must(t, "POST", "/v1/nodes", map[string]any{"name": "fake", "driver": "fake-hardware"})
	build := "bessemer ramdisk build --output " + filepath.Dir(cfg.BaseISO)
	if got := r.must(t, "GET", "/v1/nodes/real/validate", nil); !strings.Contains(got, build) {
		t.Errorf("real: %s", got)
	}
	if got := r.must(t, "GET", "/v1/nodes/fake/validate", nil); strings.Contains(got, build) {
		t.Errorf("fake: %s", got)
	}
}
