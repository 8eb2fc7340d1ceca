package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/server/boot"
	"github.com/bessemer-metal/bessemer/server/channel"
	"github.com/bessemer-metal/bessemer/server/checksums"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/server/engine"
	"github.com/bessemer-metal/bessemer/server/engine/nodes"
	"github.com/bessemer-metal/bessemer/server/fake"
	"github.com/bessemer-metal/bessemer/server/images"
	"github.com/bessemer-metal/bessemer/server/ipmi"
	"github.com/bessemer-metal/bessemer/server/logs"
	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/server/redfish"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/server/rest/nodewire"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/server/token"
	"github.com/bessemer-metal/bessemer/server/webhook"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// installation names this server in tokens; one data directory is one installation.
const installation = "installation"

// maxImage bounds one stored image (T9): what no disk image of a server's operating system reaches.
const maxImage = 1 << 40

// spareHeap is counted by the garbage collector and never touched, so that it takes no memory itself: the collector waits
// for twice as much and more before it runs. A server with few nodes has a heap of a few megabytes; to go through it each
// time as many are used again costs it a tenth of its processor time.
const spareHeap = 16 << 20

// serve runs the server until ctx ends: it opens the data directory (and makes what a first start needs), wires the
// adapters to the conductor and answers on three listeners. Log lines go to out; now is the wall time of all parts.
func serve(ctx context.Context, cfg config.Server, out io.Writer, now func() time.Time) error {
	spare := make([]byte, spareHeap)
	defer runtime.KeepAlive(spare)
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return fmt.Errorf("log level %q: %w", cfg.LogLevel, err)
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
	first := !exists(filepath.Join(cfg.DataDir, "bessemer.db"))
	stamp := usersStamp(cfg)
	auth, err := authenticator(cfg, first, out, now) // before all else is made: a first start that fails leaves nothing behind
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	keys, err := seal.Open(filepath.Join(cfg.DataDir, "master.key"), first)
	if err != nil {
		return err
	}
	var meanwhile sync.WaitGroup
	meanwhile.Go(func() { rest.Compile(true) }) // the database keeps one processor busy
	defer meanwhile.Wait()
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(cfg.DataDir, "bessemer.db"), Sealer: keys, Log: log, Now: now})
	if err != nil {
		return err
	}
	s := &server{cfg: cfg, log: log, store: store, now: now, users: stamp}
	err = s.run(ctx, keys, auth, first)
	return errors.Join(err, store.Close())
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

// server is what run wires together.
type server struct {
	cfg   config.Server
	log   *slog.Logger
	store *sqlite.Store
	now   func() time.Time
	users [2]string // the user and roles files as they were read
	wg    sync.WaitGroup
}

func (s *server) run(ctx context.Context, keys *seal.Keyring, auth login.Authenticator, first bool) error {
	cfg, log := s.cfg, s.log
	ctx, stop := context.WithCancelCause(ctx)
	defer s.wg.Wait()
	defer stop(nil)

	identity, err := channel.LoadIdentity(cfg.DataDir, s.now())
	if err != nil {
		return err
	}
	seeds, err := keys.DeriveAll("token signing")
	if err != nil {
		return err
	}
	var signing []token.Key
	for i, seed := range seeds {
		k := token.Key{Seed: seed}
		if i > 0 {
			k.Until = s.now().Add(token.Overlap)
		}
		signing = append(signing, k)
	}
	name, err := s.installation(ctx)
	if err != nil {
		return err
	}
	tokens, err := token.New(name, signing...)
	if err != nil {
		return err
	}
	bootKey, err := keys.Derive("boot")
	if err != nil {
		return err
	}
	agentLogs, err := logs.Open(filepath.Join(cfg.DataDir, "logs"), log)
	if err != nil {
		return err
	}
	defer agentLogs.Close()
	store, err := images.Open(filepath.Join(cfg.DataDir, "images"), maxImage, s.now)
	if err != nil {
		return err
	}
	defer store.Close()
	policy := &origin.Policy{Allow: cfg.AllowOrigins}
	sums := checksums.New(policy)
	defer sums.Close()
	dialer := &net.Dialer{Timeout: 10 * time.Second, ControlContext: policy.Control}

	// The addresses that go on media are those of the listeners unless the operator says what machines see.
	apiLn, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for the API on %s: %w", cfg.Listen, err)
	}
	agents, agentURL := s.listen("agent channel", "--agent-listen", cfg.AgentListen, "https", cfg.AdvertiseAgent)
	bootLn, bootURL := s.listen("boot files and images", "--boot-listen", cfg.BootListen, "http", cfg.AdvertiseBoot)
	programs, err := s.listenPrograms()
	if err != nil {
		return err
	}
	imagesURL := bootURL
	if cfg.AdvertiseImages != "" && bootLn != nil {
		imagesURL = "http://" + withPort(cfg.AdvertiseImages, bootLn.Addr())
	}

	bmcs := redfish.New(redfish.Config{Interfaces: cfg.Interfaces["redfish"], Dial: dialer.DialContext, Pins: pins{s.store}, Log: log, Now: s.now})
	fakes := fake.New(fake.Config{Socket: cfg.FakeMachines, Interfaces: cfg.Interfaces["fake-hardware"], Delays: cfg.FakeDelays})
	defer fakes.Close()
	dispatcher := channel.NewDispatcher(s.now)
	hardware := offered(cfg.Interfaces, bmcs, ipmi.New(cfg.Interfaces["ipmi"]), fakes)
	rows, err := nodewire.NewPreparer(hardware)
	if err != nil {
		return err
	}
	s.store.Prepare(rows.Form(), rows.Row)
	c, err := engine.New(engine.Config{
		Store:   s.store,
		Drivers: hardware, Dispatcher: dispatcher, Logs: agentLogs, ConfigDrives: configDrives{}, BootKey: bootKey,
		AgentURL:  func() string { return agentURL },
		MediumURL: func(token string) string { return boot.URL(bootURL, token) },
		Pins:      identity.Pins(), Certificate: identity.Certificate(), Now: s.now, Log: log, Timeouts: conductor.DefaultTimeouts(), PowerSync: cfg.PowerSync, ResourceClass: cfg.ResourceClass,
		ProgramURL: programs.url(), BootChain: programs.chain,
		CanBoot: func(by string) error { return s.canBoot(by, agents, bootLn, programs) }, Held: s.store.Held, AnySource: cfg.AnyBootSource, CheckOrigin: imageStore{store, imagesURL}.origin(policy.Check), Digest: sums.Digest,
	})
	if err != nil {
		return err
	}
	if err := login.CheckListen(auth, apiLn.Addr(), cfg.ForceNoAuth); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the host's name: %w", err)
	}
	look := checker{cfg: cfg, store: s.store, now: s.now, started: s.now(), agentURL: agentURL, bootURL: bootURL, programs: programs, apiCert: !loopback(apiLn.Addr())}
	restAPI := rest.New(rest.Config{
		Backend: c, Form: rows.Form(), Images: imageStore{store, imagesURL}, Auth: auth, Hostname: host, Public: cfg.PublicURL, WebhookOrigins: cfg.WebhookOrigins, Now: s.now, Started: s.now(), Log: log, Checks: look.checks,
	})
	beyond := !loopback(apiLn.Addr())
	apiLn = s.limited(apiLn, operators)
	if beyond {
		if apiLn, err = s.secure(apiLn); err != nil {
			return err
		}
	}

	s.wg.Go(func() { stop(c.Run(ctx)) })
	s.wg.Go(func() { s.prepareRows(ctx, c.Ready()) })
	if len(cfg.WebhookOrigins) > 0 {
		hooks := webhook.New(webhook.Config{Store: s.store, Changed: c.Notices(ctx), Transport: policy.Transport(), Origins: cfg.WebhookOrigins, Now: s.now, Log: log})
		s.wg.Go(func() { hooks.Run(ctx) })
	}
	if b, ok := auth.(*login.Basic); ok {
		s.wg.Go(func() { s.followUsers(ctx, b) })
	}
	s.wg.Go(func() {
		if err := s.store.Hold(ctx); err != nil {
			// What this process has in memory may be old, and its acts would meet the other server's.
			stop(fmt.Errorf("%w; this server ends", err))
		}
	})
	s.wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.store.Failed():
			// What an fsync that failed has lost nobody knows; a restart reads the truth (F6).
			stop(errors.New("the disk did not keep what was written to the database; start the server again when it is sound"))
		}
	})
	s.welcome(first, apiLn.Addr(), agentURL, bootURL, programs.base) // it is listened on already, and whoever hears an answer has been told
	s.serveHTTP(ctx, stop, "API", rest.Server(restAPI, log), apiLn)
	if agents != nil {
		ch := channel.New(channel.Config{Conductor: c, Dispatcher: dispatcher, Tokens: tokens, Networks: cfg.AgentNetworks, Now: s.now, Log: log})
		s.wg.Go(func() {
			if err := ch.Serve(ctx, agents, identity); err != nil {
				stop(fmt.Errorf("agent channel: %w", err))
			}
		})
	}
	if bootLn != nil {
		mux := http.NewServeMux()
		mux.Handle(boot.Path, boot.Handler(cfg.BaseISO, c, log))
		mux.Handle(images.Prefix, store.Handler())
		s.serveHTTP(ctx, stop, "boot files and images", rest.Server(mux, log), moving{s.limited(bootLn, machines), s.now})
	}
	if programs.ln != nil {
		mux := http.NewServeMux()
		mux.Handle(boot.Path, boot.ProgramHandler(cfg.BaseProgram, c, log))
		s.serveHTTP(ctx, stop, "ramdisks over HTTPS", rest.Server(mux, log), programs.ln)
	}
	<-ctx.Done()
	s.wg.Wait()
	// BMCs have few sessions; those left open bar the door for a while.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	bmcs.Close(end)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// offered is the hardware types that are enabled; without settings of them that is all.
func offered(interfaces map[string]map[string][]string, all ...conductor.Driver) []conductor.Driver {
	if interfaces == nil {
		return all
	}
	return slices.DeleteFunc(all, func(d conductor.Driver) bool { return interfaces[d.Name()] == nil })
}

// installation is the name of this data directory, made at the first start.
func (s *server) installation(ctx context.Context) (name string, err error) {
	err = s.store.Update(ctx, func(tx conductor.Tx) error {
		if name, err = tx.Setting(installation); err != nil || name != "" {
			return err
		}
		name = nodes.NewID()
		return tx.PutSetting(installation, name)
	})
	return name, err
}

// listen opens one of the listeners that machines use. A port that is taken is told by name and leaves the API as it is.
func (s *server) listen(what, flag, addr, scheme, advertised string) (net.Listener, string) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		s.log.Error("a listener is missing; machines can't be booted by this server as it runs", "listener", what, "address", addr, "err", err,
			"hint", "free the port, or choose another with "+flag+", and start the server again")
		return nil, scheme + "://" + advertised
	}
	if advertised == "" {
		advertised = reachable(ln.Addr())
	}
	return ln, scheme + "://" + withPort(advertised, ln.Addr())
}

// canBoot tells what a ramdisk would miss that is booted by that boot interface. Behind fake there may be a played machine, which
// reports as an agent does and boots nothing.
func (s *server) canBoot(by string, agents, files net.Listener, programs programs) error {
	for _, l := range []struct {
		ln         net.Listener
		what, addr string
	}{{agents, "the agent channel", s.cfg.AgentListen}, {files, "the boot listener", s.cfg.BootListen}} {
		if l.ln == nil {
			return fault.New(fault.FlowListener, "%s is missing: %s could not be listened on when the server started", l.what, l.addr)
		}
	}
	switch by {
	case drivers.Fake:
		return nil
	case drivers.HTTPBoot:
		if programs.ln == nil {
			return fault.New(fault.FlowListener, "the listener for HTTPS boot is missing: %s could not be listened on when the server started", s.cfg.BootTLSListen)
		}
		return servable(s.cfg.BaseProgram, "EFI program, which machines load over HTTPS,", media.FindRegion)
	}
	return servable(s.cfg.BaseISO, "boot ISO", api.FindRegion)
}

// withPort completes HOST by the listener's port; HOST:PORT stays.
func withPort(host string, a net.Addr) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// reachable turns a wildcard listener's address into one that others can dial: the source address of the default route.
func reachable(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil || !ap.Addr().IsUnspecified() {
		return a.String()
	}
	// A UDP "connection" sends nothing; it only asks the kernel which address it would use.
	conn, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return a.String()
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return a.String()
	}
	return net.JoinHostPort(host, fmt.Sprint(ap.Port()))
}

func loopback(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func (s *server) serveHTTP(ctx context.Context, stop context.CancelCauseFunc, what string, srv *http.Server, ln net.Listener) {
	s.wg.Go(func() {
		if err := srv.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			stop(fmt.Errorf("%s: %w", what, err))
		}
	})
	s.wg.Go(func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(grace); err != nil {
			srv.Close() //nolint:errcheck // streams that would not end are cut
		}
	})
}

// welcome says where the server is, and on the first start what to type next.
func (s *server) welcome(first bool, addr net.Addr, agents, boot, programs string) {
	url := "http://" + addr.String()
	if !loopback(addr) {
		url = "https://" + addr.String()
	}
	told := []any{"api", url, "agents", agents, "boot", boot}
	if programs != "" {
		told = append(told, "boot_tls", programs)
	}
	s.log.Info("serving", append(told, "data", s.cfg.DataDir)...)
	if !exists(s.cfg.BaseISO) {
		s.log.Warn("there is no ramdisk yet; machines can't be booted", "expected", s.cfg.BaseISO, "hint", "bessemer ramdisk build --output "+filepath.Dir(s.cfg.BaseISO))
	}
	if first {
		s.log.Info("first start: keys, certificate and database were made; next, tell it of a machine:",
			"type", "bessemer --server "+url+" node create --name NAME --driver redfish --driver-info redfish_address=https://BMC --driver-info redfish_username=USER --driver-info redfish_password=@PASSWORDFILE")
	}
}

// configDrives makes config drives with the ramdisk's media code.
type configDrives struct{}

func (configDrives) ConfigDrive(files map[string][]byte) ([]byte, error) {
	return media.ConfigDrive(files, media.ConfigDriveLabel)
}

// pins keeps the keys that BMCs showed first as settings of the store.
type pins struct{ store conductor.Store }

func (p pins) Pin(ctx context.Context, origin string) (pin string, err error) {
	err = p.store.View(ctx, func(tx conductor.Tx) error { pin, err = tx.Setting("bmc pin " + origin); return err })
	return pin, err
}

func (p pins) PutPin(ctx context.Context, origin, pin string) error {
	return p.store.Update(ctx, func(tx conductor.Tx) error { return tx.PutSetting("bmc pin "+origin, pin) })
}

// imageStore shows the store of images as the REST API has them, with the URL that machines fetch them by.
type imageStore struct {
	*images.Store
	base string
}

func (s imageStore) wire(i images.Image) api.Image {
	return api.Image{
		Name: i.Name, Size: i.Size, SHA256: i.SHA256, SHA512: i.SHA512, Format: i.Format, Created: i.Created,
		URL: s.base + images.Prefix + i.Name,
	}
}

// origin lets pass the stored images' own URLs, which are in the server's own network by nature. Only machines fetch
// them: what the server itself dials is judged again, address by address, when it dials.
func (s imageStore) origin(check func(context.Context, string) error) func(context.Context, string) error {
	return func(ctx context.Context, raw string) error {
		if name, ok := strings.CutPrefix(raw, s.base+images.Prefix); ok {
			if _, err := s.Get(name); err == nil {
				return nil
			}
		}
		return check(ctx, raw)
	}
}

func (s imageStore) Put(ctx context.Context, name string, r io.Reader) (api.Image, error) {
	i, err := s.Store.Put(ctx, name, r)
	return s.wire(i), err
}

func (s imageStore) Image(_ context.Context, name string) (api.Image, error) {
	i, err := s.Get(name)
	return s.wire(i), err
}

func (s imageStore) List(context.Context) ([]api.Image, error) {
	all, err := s.Store.List()
	out := make([]api.Image, len(all))
	for k, i := range all {
		out[k] = s.wire(i)
	}
	return out, err
}

func (s imageStore) Delete(_ context.Context, name string) error { return s.Store.Delete(name) }
