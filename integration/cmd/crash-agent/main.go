// The agent of the crash harness: the product's channel, journal and executor in a process of their own, with fake
// disks in place of a machine's. What is done to the disks they write into the harness's ledger themselves. With
// --mutant it has one of the mistakes that the harness must find. Start at main.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/integration/ledger"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/inventory"
)

// lastWords is how long the log may take to reach the server before something is told that may end the machine's power.
const lastWords = 5 * time.Second

// options are the command line.
type options struct {
	dir     string        // what outlives the process, but not the boot: key, journal, log
	region  string        // file with the boot medium's region
	ledger  string        // file
	machine string        // name, for the ledger
	source  string        // address to call from
	boot    string        // the kernel's boot id
	work    time.Duration // of one step on one disk
	mutant  string
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "directory that ends with the boot")
	flag.StringVar(&o.region, "region", "", "file with the boot region")
	flag.StringVar(&o.ledger, "ledger", "", "file of the ledger")
	flag.StringVar(&o.machine, "machine", "", "name of the machine")
	flag.StringVar(&o.source, "source", "", "address to call from")
	flag.StringVar(&o.boot, "boot", "", "id of the boot")
	flag.DurationVar(&o.work, "work", 100*time.Millisecond, "how long a step works on a disk")
	flag.StringVar(&o.mutant, "mutant", "", "a mistake to have: "+mutants)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := work(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "crash-agent:", err)
		os.Exit(1)
	}
}

// work is what agent/work.go does, without a machine.
func work(ctx context.Context, o options) error {
	region, err := os.ReadFile(o.region)
	if err != nil {
		return err
	}
	config, err := api.DecodeBootConfig(region)
	if err != nil {
		return err
	}
	witness, err := ledger.Open(o.ledger)
	if err != nil {
		return err
	}
	defer witness.Close()
	if o.mutant == "forgetful" {
		if err := os.Remove(filepath.Join(o.dir, "journal")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	journal, err := run.OpenJournal(filepath.Join(o.dir, "journal"))
	if err != nil {
		return err
	}
	defer journal.Close()
	key, err := channel.LoadKey(o.dir)
	if err != nil {
		return err
	}
	kept, err := channel.OpenLog(filepath.Join(o.dir, "log"), 1<<20)
	if err != nil {
		return err
	}
	defer kept.Close()
	log := slog.New(slog.NewJSONHandler(io.MultiWriter(kept, os.Stderr), nil)).With("machine", o.machine)
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(o.source)}}
	client, err := channel.New(channel.Config{
		Boot: config, Key: key, BootID: o.boot, Version: "crash", Seq: journal.Seq, Now: time.Now, Log: log, Dial: dialer.DialContext,
		Inventory: inventory.Inventory{
			Disks: disks(o.machine), CPU: inventory.CPU{Count: 2, Architecture: "x86_64"},
			Interfaces: []inventory.Interface{{MACAddress: "52:54:00:00:00:01"}},
		},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	m := &machine{options: o, ledger: witness}
	var server run.Server = teller{client, m}
	if o.mutant != "" {
		if server, err = mutate(o.mutant, server, m); err != nil {
			return err
		}
	}
	executor := run.New(run.Config{
		Server: server, Manager: m, Journal: journal, Now: time.Now, Log: log,
		Retry: func(int) time.Duration { return 200 * time.Millisecond }, // kills come every second here
	})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, part := range []func() error{
		func() error {
			if _, err := client.Lookup(ctx); err != nil {
				return err
			}
			kept.Flush(ctx, lastWords) // as the agent does: an inspection may end with the first heartbeat
			return client.Run(ctx, executor, channel.Offer{Steps: m.Steps(), Versions: map[string]string{"crash": "1"}})
		},
		func() error { return executor.Run(ctx) },
		func() error { return kept.Ship(ctx, client.Ship) },
	} {
		wg.Go(func() { cancel(part()) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// teller writes down which of the server's answers arrived.
type teller struct {
	*channel.Client
	m *machine
}

func (t teller) Start(ctx context.Context, id stepID, nonce string) error {
	err := t.Client.Start(ctx, id, nonce)
	if err == nil {
		err = t.m.ledger.Append(ledger.Line{Kind: ledger.Started, Machine: t.m.machine, Step: id})
	}
	return err
}

func (t teller) Result(ctx context.Context, e run.Ended) error {
	err := t.Client.Result(ctx, e)
	if err == nil {
		err = t.m.ledger.Append(ledger.Line{Kind: ledger.Told, Machine: t.m.machine, Step: e.ID, Outcome: e.Outcome})
	}
	return err
}

// mutants lists what mutate knows.
const mutants = "eager (runs before the server's answer), again (after a crash runs the unfinished step once more), " +
	"liar (tells of work it did not do), forgetful (a new process knows nothing of the one before)"

// mutate gives the agent a mistake.
func mutate(kind string, s run.Server, m *machine) (run.Server, error) {
	switch kind {
	case "eager":
		return eager{s}, nil
	case "again":
		return again{s, m}, m.redo()
	case "forgetful": // work has seen to it
		return s, nil
	case "liar":
		m.lies = true
		return s, nil
	}
	return nil, fmt.Errorf("there is no mutant %q; there are: %s", kind, mutants)
}

// eager tells the executor that the server has agreed before it was asked; the claim goes out meanwhile.
type eager struct{ run.Server }

func (e eager) Start(ctx context.Context, id stepID, nonce string) error {
	go func() {
		for e.Server.Start(ctx, id, nonce) != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return nil
}

// again keeps the step it runs in a file, as an agent might that means to go on after a crash.
type again struct {
	run.Server
	m *machine
}

func (a again) Start(ctx context.Context, id stepID, nonce string) error {
	err := a.Server.Start(ctx, id, nonce)
	if err == nil {
		raw, _ := json.Marshal(id)
		err = os.WriteFile(a.m.unfinished(), raw, 0o600)
	}
	return err
}

func (a again) Result(ctx context.Context, e run.Ended) error {
	// A result is told until it is answered, and one of a process before has no file: an error here would be told for ever,
	// and the machine would do nothing more that could be found.
	if err := os.Remove(a.m.unfinished()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.Server.Result(ctx, e)
}

func (m *machine) unfinished() string { return filepath.Join(m.dir, "unfinished") }

// redo works once more on what the process before left unfinished.
func (m *machine) redo() error {
	raw, err := os.ReadFile(m.unfinished())
	if err != nil {
		return nil
	}
	var id stepID
	if err := json.Unmarshal(raw, &id); err != nil {
		return err
	}
	for _, d := range disks(m.machine) {
		if err := m.ledger.Append(ledger.Line{Kind: ledger.Begin, Machine: m.machine, Step: id, Name: "again", Device: d.Serial}); err != nil {
			return err
		}
	}
	return nil
}
