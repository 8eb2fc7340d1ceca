package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	leastFree  = 1 << 30             // bytes that logs and database need at the least
	certEnding = 30 * 24 * time.Hour // before its end a certificate is told
	clockJump  = 5 * time.Second     // what the wall clock may be set by without being told
	dialTime   = 3 * time.Second
)

// checker looks at a running server. All of it is made at the start.
type checker struct {
	cfg      config.Server
	store    *sqlite.Store
	now      func() time.Time
	started  time.Time // with its monotonic reading
	agentURL string
	bootURL  string
	programs programs
	apiCert  bool // the API has TLS
}

// checks is what bessemer doctor shows of the server.
func (c checker) checks(ctx context.Context) []api.Check {
	out := []api.Check{c.clock(), diskSpace(c.cfg.DataDir), c.ramdisk()}
	out = append(out, certificate("agent channel's certificate", filepath.Join(c.cfg.DataDir, "agent-listener.pem"), "", c.now()))
	if c.apiCert {
		cert, key := apiFiles(c.cfg)
		out = append(out, certificate("API's certificate", cert, key, c.now()))
	}
	out = append(out, c.reach(ctx, "agents' address", c.agentURL, "advertise-agent"), c.reach(ctx, "boot address", c.bootURL, "advertise-boot"))
	if p := c.programs; p.base != "" {
		out = append(out, c.bootCertificate(), c.reach(ctx, "HTTPS boot address", p.base, "advertise-boot-tls"))
	}
	k := api.Check{Name: "database", OK: true, Found: "sound, and the audit's chain fits"}
	if err := c.store.Sound(ctx); err != nil {
		f := fault.From(err)
		k = api.Check{Name: k.Name, Found: f.Message, Hint: f.Hint, Reason: string(f.Reason)}
	} else if n, err := c.store.WornRows(ctx); err != nil || n > 0 {
		k = worn(n)
		if err != nil {
			k = api.Check{Name: k.Name, Found: "the rows that lists are made of can't be read: " + err.Error(), Hint: k.Hint}
		}
	}
	return append(out, k)
}

// worn tells of rows of node lists that were lost or damaged.
func worn(n int) api.Check {
	return api.Check{Name: "database", Found: fmt.Sprintf("%d rows that lists of nodes are made of were lost or damaged; no node is lost, and a running server makes them anew at once", n),
		Hint: "look at the disk, and for programs beside the server that write its database"}
}

// clock compares how long the server runs by the wall clock and by the kernel's own count: a difference is a clock that
// was set. Deadlines moved along; certificates and logs did not.
func (c checker) clock() api.Check {
	now := c.now()
	return setBy(now.Round(0).Sub(c.started.Round(0))-now.Sub(c.started), now)
}

func setBy(set time.Duration, now time.Time) api.Check {
	k := api.Check{Name: "clock", OK: true, Found: now.UTC().Format(time.RFC3339) + ", not set since the server's start"}
	if set.Abs() > clockJump {
		k = api.Check{Name: k.Name, Found: fmt.Sprintf("%s; it was set by %s since the server's start", now.UTC().Format(time.RFC3339), set.Round(time.Second)),
			Hint: "keep the host's clock by NTP; if it is right now, start the server again"}
	}
	return k
}

func (c checker) ramdisk() api.Check {
	if !exists(c.cfg.BaseISO) {
		return api.Check{Name: "ramdisk", Found: "there is none at " + c.cfg.BaseISO + "; machines can't be booted", Reason: string(fault.BootNoRamdisk),
			Hint: "bessemer ramdisk build --output " + filepath.Dir(c.cfg.BaseISO)}
	}
	return api.Check{Name: "ramdisk", OK: true, Found: c.cfg.BaseISO}
}

// reach connects to an address as machines do. The agent channel must show the key that boot media carry.
func (c checker) reach(ctx context.Context, name, base, flag string) api.Check {
	wrong := func(format string, args ...any) api.Check {
		return api.Check{Name: name, Found: base + ": " + fmt.Sprintf(format, args...), Reason: string(fault.FlowListener),
			Hint: "is the address this server's, and the port free for it? --" + flag + " says what machines are told"}
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return wrong("it is no address")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return wrong("%v", err)
	}
	defer conn.Close()
	return api.Check{Name: name, OK: true, Found: base + " answers"}
}

// bootCertificate looks at the certificate that machines' firmware is shown: it must be of the address that they are given.
func (c checker) bootCertificate() api.Check {
	cert, key := programFiles(c.cfg)
	k := certificate("HTTPS boot's certificate", cert, key, c.now())
	if err := names(c.programs.chain, hostOf(c.programs.base)); k.OK && err != nil {
		k = api.Check{Name: k.Name, Found: cert + ": " + err.Error(),
			Hint: "put one there that names this host, or set advertise_boot_tls to a name that it has; the machines' firmware must trust it"}
	}
	return k
}

// apiFiles are the files of the API's certificate and key.
func apiFiles(cfg config.Server) (cert, key string) {
	if cfg.TLSCert != "" {
		return cfg.TLSCert, cfg.TLSKey
	}
	return filepath.Join(cfg.DataDir, "api.crt"), filepath.Join(cfg.DataDir, "api.key")
}

// certificate checks that a certificate is alive and its key its own; without a key file both are in one.
func certificate(name, certFile, keyFile string, now time.Time) api.Check {
	if keyFile == "" {
		keyFile = certFile
	}
	wrong := func(format string, args ...any) api.Check {
		return api.Check{Name: name, Found: certFile + ": " + fmt.Sprintf(format, args...), Hint: "put a certificate and its own key there, and start the server again"}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile) // refuses a key that is another certificate's
	if err != nil {
		return wrong("%v", err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	switch {
	case err != nil:
		return wrong("%v", err)
	case now.Before(leaf.NotBefore):
		return wrong("it begins only at %s; is the clock right?", leaf.NotBefore.UTC().Format(time.RFC3339))
	case now.After(leaf.NotAfter):
		return wrong("it ended at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	case leaf.NotAfter.Sub(now) < certEnding:
		return wrong("it ends at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return api.Check{Name: name, OK: true, Found: "good until " + leaf.NotAfter.UTC().Format(time.DateOnly) + ", and its key fits"}
}

func diskSpace(dir string) api.Check {
	k := api.Check{Name: "disk space"}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		k.Found, k.Hint = fmt.Sprintf("%s: %v", dir, err), "does the data directory exist, and may the server read it?"
		return k
	}
	free := uint64(st.Bavail) * uint64(st.Bsize)
	total := uint64(st.Blocks) * uint64(st.Bsize)
	k.Found = fmt.Sprintf("%.1f of %.1f GB free in %s", float64(free)/1e9, float64(total)/1e9, dir)
	if k.OK = free >= leastFree && (st.Files == 0 || st.Ffree > 1000); !k.OK {
		k.Hint, k.Reason = "make room: old images (bessemer image list), logs; without any the server grants no work", string(fault.StorageUnavailable)
	}
	return k
}

// examine looks at the data directory of a server that does not answer: who holds it, when it lived last, whether the
// database is sound. It writes nothing.
func examine(ctx context.Context, cfg config.Server, now func() time.Time) []api.Check {
	out := []api.Check{diskSpace(cfg.DataDir)}
	path := filepath.Join(cfg.DataDir, "bessemer.db")
	e, err := sqlite.Examine(ctx, path)
	switch {
	case os.IsNotExist(err):
		return append(out, api.Check{Name: "database", Found: "there is none at " + path, Hint: "name the data directory with --data-dir; a first start makes one: bessemer serve"})
	case err != nil:
		return append(out, api.Check{Name: "database", Found: path + ": " + err.Error(), Hint: "is it the server's database, and may you read it? If it is damaged, restore the last backup"})
	}
	server := api.Check{Name: "server", Found: "no process holds the database", Hint: "start it: bessemer serve"}
	if e.Holder != "" {
		server.Found = "process " + e.Holder + " holds the database, but the API does not answer"
		server.Hint = "is --server its address? If it hangs, look at its log, end that process and start it again: no step runs twice by that"
	}
	if !e.Alive.IsZero() {
		server.Found += fmt.Sprintf("; it last lived at %s, %s ago", e.Alive.UTC().Format(time.RFC3339), now().Sub(e.Alive).Round(time.Second))
	}
	out = append(out, server)
	if e.Owner != "" {
		owner := api.Check{Name: "owner", OK: true, Found: e.Owner + ", its lease until " + e.Expires.UTC().Format(time.RFC3339)}
		if e.Holder == "" && now().Before(e.Expires) {
			owner.Found += "; it has not run out yet"
		} else if e.Holder == "" {
			owner.Found += "; it is stale, and the next server on this host takes over at once"
		}
		out = append(out, owner)
	}
	db := api.Check{Name: "database", OK: true, Found: fmt.Sprintf("sound, schema version %d", e.Schema)}
	switch {
	case e.Damage != "":
		db = api.Check{Name: db.Name, Found: "damaged: " + e.Damage, Hint: "restore the last backup and confirm each node", Reason: string(fault.StorageUnavailable)}
	case e.Worn > 0:
		db = worn(e.Worn)
	case e.Schema > e.Known:
		db = api.Check{Name: db.Name, Found: fmt.Sprintf("schema version %d, this program knows up to %d", e.Schema, e.Known), Hint: "start the newer program"}
	}
	out = append(out, db, certificate("agent channel's certificate", filepath.Join(cfg.DataDir, "agent-listener.pem"), "", now()))
	if cert, key := apiFiles(cfg); exists(cert) || cfg.TLSCert != "" {
		out = append(out, certificate("API's certificate", cert, key, now()))
	}
	return out
}
