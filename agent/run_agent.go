package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/drivers"
	"github.com/bessemer-metal/bessemer/agent/network"
	"github.com/bessemer-metal/bessemer/agent/system"
)

// runAgent brings the machine's hardware and network up, reads the boot configuration and works for the server named
// there until ctx ends.
func runAgent(ctx context.Context, root string) error {
	kept, err := channel.OpenLog(filepath.Join(root, system.RunDir, "log"), logSize)
	if err != nil {
		return err
	}
	defer kept.Close()
	log := slog.New(slog.NewJSONHandler(kept, &slog.HandlerOptions{Level: slog.LevelDebug}))
	slog.SetDefault(log) // libraries that log by themselves end up in the same place
	log.Info("agent starts", "version", version)
	console := system.OpenConsole(root)
	defer console.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()

	modules, changed := loadModules(ctx, root, console, log, &wg)
	if err := system.MountEFI(root); err != nil {
		log.Warn("firmware", "err", err)
	}
	medium, err := bootConfig(ctx, root, console, changed)
	if err != nil {
		return err
	}
	config := medium.Config
	if moved, err := system.ClockFloor(config.NotBefore, time.Now); err != nil || moved {
		log.Info("clock", "moved", moved, "floor", config.NotBefore, "err", err)
	}
	cards := network.New(root, console, modules, log)
	wg.Go(func() {
		if err := cards.Run(ctx, config.Network); err != nil && ctx.Err() == nil {
			console.Say("network", "the network can't be brought up: %v", err)
		}
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-cards.Ready():
	}
	if modules != nil && !modules.Settle(ctx, quiet, settle) {
		log.Warn("devices kept appearing", "for", settle)
	}
	return work(ctx, session{root: root, console: console, log: log, kept: kept, medium: medium})
}

// How long no device may have appeared before the inventory is taken, and how long that is waited for at most.
const (
	quiet  = time.Second
	settle = 30 * time.Second
)

// logSize is how many bytes of the agent's log a machine keeps until they are shipped.
const logSize = 8 << 20

// session is what the agent found out before it talks to its server.
type session struct {
	root    string
	console *system.Console
	log     *slog.Logger
	kept    *channel.Log
	medium  system.Medium
}

// loadModules loads what the hardware asks for and goes on doing so as devices appear. changed gets a value, at most
// one waiting, when block devices changed.
func loadModules(ctx context.Context, root string, console *system.Console, log *slog.Logger, wg *sync.WaitGroup) (*drivers.Modules, <-chan struct{}) {
	changed := make(chan struct{}, 1)
	release, err := system.KernelRelease()
	var m *drivers.Modules
	if err == nil {
		m, err = drivers.Open(root, release, log)
	}
	if err != nil {
		console.Say("modules", "this ramdisk can't load drivers: %v; only what the kernel has built in will work", err)
		return nil, changed
	}
	wg.Go(func() {
		err := system.Events(ctx, func(e system.Event) {
			if e == (system.Event{}) {
				log.Info("modules", "loaded", m.Coldplug(ctx))
			} else if e.Action == "add" {
				m.Want(e.Modalias)
			}
			if e.Subsystem == "block" || e == (system.Event{}) {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		})
		if err != nil && ctx.Err() == nil {
			console.Say("modules", "%v; devices that appear late will be missed", err)
		}
	})
	return m, changed
}

// bootConfig is what the ramdisk carries itself, or else waits for the boot medium and reads it; a later process of the same boot
// takes what the first one kept.
func bootConfig(ctx context.Context, root string, console *system.Console, changed <-chan struct{}) (system.Medium, error) {
	if m, err := system.KeptMedium(root); err == nil {
		return m, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		console.Say("medium", "%v; reading the boot medium again", err)
	}
	m, err := system.Carried(root)
	if err == nil {
		console.Say("medium", "loaded over the network: %s", m.Config)
		return m, system.KeepMedium(root, m)
	}
	if !errors.Is(err, system.ErrNoMedium) {
		return m, fmt.Errorf("%w; boot the machine anew through the server", err)
	}
	const patience = 5 * time.Second
	begin := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		m, err := system.FindMedium(root)
		if err == nil {
			if err := system.KeepMedium(root, m); err != nil {
				return m, err
			}
			console.Say("medium", "boot medium %s: %s", m.Name, m.Config)
			return m, nil
		}
		switch {
		case !errors.Is(err, system.ErrNoMedium):
			console.Say("medium", "%v; still looking", err)
		case time.Since(begin) > patience:
			console.Say("medium", "no boot medium found: attach the server's boot ISO by the BMC's virtual media, or boot from the address that the server gives the BMC; still looking")
		}
		select {
		case <-ctx.Done():
			return system.Medium{}, ctx.Err()
		case <-changed:
		case <-tick.C:
		}
	}
}
