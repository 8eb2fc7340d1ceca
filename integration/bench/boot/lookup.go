// Package boot measures the ramdisk: what its parts weigh, and how long a machine takes from power on to its lookup, beside a
// kernel whose init only prints. Start at Measure.
package boot

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs"
	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/shared/api"
)

const (
	bootRuns = 5 // of each side; the two take turns
	bootMB   = 512
	// bootPatience is with one boot.
	bootPatience = 3 * time.Minute
)

// memories are tried downwards, MB, until the ramdisk does not come to its lookup any more.
var memories = []int{384, 320, 256, 224, 192, 160, 128}

// marks are what the ramdisk says on its way to the lookup.
var marks = []struct{ said, what string }{
	{"bessemer: ramdisk ", "its supervisor runs: kernel started, initramfs unpacked"},
	{"bessemer: boot medium ", "boot medium read"},
	{" has the address ", "network up, by DHCP"},
	{" of memory, ", "inventory taken"},
}

// bench boots the ramdisk as often as told, and measures it.
type bench struct {
	dir    string
	ours   machine
	init   string // the ramdisk's initramfs
	server *listener
}

// Measure compares the ramdisk's way to its lookup with a bare kernel.
func Measure(ctx context.Context, root string, r initramfs.Result) (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, init: r.Initramfs}
	if b.server, err = listen(); err != nil {
		return err
	}
	defer b.server.close()
	b.ours = machine{kernel: r.Kernel, cmdline: r.Cmdline, medium: filepath.Join(dir, "medium.iso"), disk: filepath.Join(dir, "disk"), memoryMB: bootMB}
	if err := blank(b.ours.disk, 64<<20); err != nil {
		return err
	}
	bare, err := bareInitramfs(ctx, root, dir)
	if err != nil {
		return err
	}
	var bareTimes, ourTimes []time.Duration
	stages := make([][]time.Duration, len(marks))
	for range bootRuns {
		t, err := b.bareBoot(ctx, bare)
		if err != nil {
			return fmt.Errorf("boot the bare kernel: %w", err)
		}
		bareTimes = append(bareTimes, t)
		told, err := b.ramdiskBoot(ctx, b.ours)
		if err != nil {
			return fmt.Errorf("boot the ramdisk: %w", err)
		}
		for i := range marks {
			stages[i] = append(stages[i], told[i])
		}
		ourTimes = append(ourTimes, told[len(marks)])
	}
	set := figures.Set{
		Title: "Power on to lookup",
		Method: fmt.Sprintf("Both sides boot the same kernel with the same QEMU options, without firmware and without KVM (TCG, 2 processors, %d MB, "+
			"NVMe disk, CD, network card): the ramdisk until its lookup request has arrived at a listener on the host, and a bare kernel until an init that only prints and powers off has printed. "+
			"Medians of %d boots each, the two in turn.", bootMB, bootRuns),
		Rows: []figures.Figure{
			{What: "bare kernel: init has printed", Value: figures.Median(bareTimes).Seconds(), Unit: "s"},
		},
	}
	for i, m := range marks {
		set.Rows = append(set.Rows, figures.Figure{What: "ramdisk: " + m.what, Value: figures.Median(stages[i]).Seconds(), Unit: "s"})
	}
	set.Rows = append(set.Rows,
		figures.Figure{What: "ramdisk: lookup arrived", Value: figures.Median(ourTimes).Seconds(), Unit: "s"},
		figures.Figure{What: "ramdisk to bare kernel", Value: figures.Median(ourTimes).Seconds() / figures.Median(bareTimes).Seconds(), Unit: "×"},
		figures.Figure{What: "initramfs of the bare kernel", Value: size(bare) / 1e6, Unit: "MB"},
		figures.Figure{What: "initramfs of the ramdisk", Value: size(r.Initramfs) / 1e6, Unit: "MB"},
		figures.Figure{What: "least memory tried that it came to its lookup with", Value: float64(b.leastMemory(ctx, 4*figures.Median(ourTimes))), Unit: "MB", Target: "≤ 512"})
	return set.Save(root, "boot")
}

// leastMemory is the smallest of memories that is enough for a lookup within patience.
func (b *bench) leastMemory(ctx context.Context, patience time.Duration) int {
	least := bootMB
	for _, mb := range memories {
		m := b.ours
		m.memoryMB = mb
		ctx, cancel := context.WithTimeout(ctx, patience)
		_, err := b.ramdiskBoot(ctx, m)
		cancel()
		if err != nil {
			break
		}
		least = mb
	}
	return least
}

// bareBoot is how long the bare kernel takes.
func (b *bench) bareBoot(ctx context.Context, initramfs string) (time.Duration, error) {
	if err := b.newMedium(); err != nil { // not read, but there, as on the other side
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	g, err := b.ours.boot(initramfs)
	if err != nil {
		return 0, err
	}
	defer g.kill()
	return g.when(ctx, "bareinit: up")
}

// ramdiskBoot is how long the ramdisk takes to each mark, and to its lookup.
func (b *bench) ramdiskBoot(ctx context.Context, m machine) ([]time.Duration, error) {
	if err := b.newMedium(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	b.server.drain()
	g, err := m.boot(b.init)
	if err != nil {
		return nil, err
	}
	defer g.kill()
	var took []time.Duration
	for _, mark := range marks {
		t, err := g.when(ctx, mark.said)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	select {
	case at := <-b.server.lookups:
		return append(took, at.Sub(g.begin)), nil
	case <-g.ended:
		return nil, fmt.Errorf("the guest ended before its lookup")
	case <-ctx.Done():
		return nil, fmt.Errorf("no lookup came: %w", ctx.Err())
	}
}

// newMedium writes a boot medium that names our listener.
func (b *bench) newMedium() error {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails
	region, err := api.EncodeBootConfig(api.BootConfig{
		Version: 1, Server: "https://" + net.JoinHostPort(lab.GuestHost, b.server.port), Pins: []string{b.server.pin},
		Node: "6b1c0e5e-0000-4000-8000-000000000001", Generation: 1, Secret: base64.RawURLEncoding.EncodeToString(secret), NotBefore: time.Now(),
	}, api.RegionSize)
	if err != nil {
		return err
	}
	if err := os.Remove(b.ours.medium); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return media.RegionISO(b.ours.medium, region)
}

// bareInitramfs builds the init that only prints.
func bareInitramfs(ctx context.Context, root, dir string) (string, error) {
	program := filepath.Join(dir, "bareinit")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./integration/bench/boot/bareinit")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bareinit: %w\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "bare.cpio")
	return file, os.WriteFile(file, archive(content), 0o600)
}

// listener stands for a server's agent listener: it notes when a lookup arrives, and admits nobody.
type listener struct {
	port, pin string
	lookups   chan time.Time
	http      *http.Server
	ended     chan struct{}
}

func listen() (*listener, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: api.ServerName}, DNSNames: []string{api.ServerName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pin := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, err
	}
	l := &listener{port: port, pin: base64.StdEncoding.EncodeToString(pin[:]), lookups: make(chan time.Time, 1), ended: make(chan struct{})}
	// The agent's first handshake only looks at the certificate, and fails: that is no news.
	l.http = &http.Server{ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, err := io.Copy(io.Discard, q.Body); err == nil && q.URL.Path == api.PathLookup {
			select {
			case l.lookups <- time.Now():
			default: // a later try of the same guest
			}
		}
		http.Error(w, "this is only a measurement", http.StatusServiceUnavailable)
	})}
	go func() {
		l.http.Serve(ln) //nolint:errcheck // ends with close
		close(l.ended)
	}()
	return l, nil
}

// drain forgets what came from the guest before.
func (l *listener) drain() {
	select {
	case <-l.lookups:
	default:
	}
}

func (l *listener) close() {
	l.http.Close() //nolint:errcheck // nothing is to be kept
	<-l.ended
}

// size of a file in bytes; 0 when there is none.
func size(path string) float64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return float64(st.Size())
}
