package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/inventory"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// work takes the inventory and works for the server until ctx ends: the channel brings commands, the executor runs
// them, the log is shipped. It returns after all three have.
func work(ctx context.Context, s session) error {
	dir := filepath.Join(s.root, system.RunDir)
	bootID, err := system.BootID(s.root)
	if err != nil {
		return err
	}
	journal, err := run.OpenJournal(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	defer journal.Close()
	key, err := channel.LoadKey(dir)
	if err != nil {
		return err
	}
	inv := inventory.Read(ctx, inventory.Live(s.medium.Name), s.log)
	s.console.Say("inventory", "%d processors, %d MiB of memory, %d disks, %d network cards", inv.CPU.Count, inv.Memory.PhysicalMB, len(inv.Disks), len(inv.Interfaces))
	client, err := channel.New(channel.Config{
		Boot: s.medium.Config, Key: key, Inventory: inv, BootID: bootID, Version: version, Seq: journal.Seq, Now: time.Now, Log: s.log,
		Trouble: func(words string) {
			if words == "" {
				words = fmt.Sprintf("working for %s", s.medium.Config.Server)
			}
			s.console.Say("server", "%s", words)
		},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	managers := nothing{}
	executor := run.New(run.Config{Server: client, Manager: managers, Journal: journal, Now: time.Now, Log: s.log})

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, part := range []func() error{
		func() error { return client.Run(ctx, executor, channel.Offer{Steps: managers.Steps()}) },
		func() error { return executor.Run(ctx) },
		func() error { return s.kept.Ship(ctx, client.Ship) },
	} {
		wg.Go(func() { stop(part()) }) // none of them ends before the others
	}
	wg.Wait()
	return context.Cause(ctx)
}

// nothing is a machine that no manager fits.
type nothing struct{}

func (nothing) Steps() []step.Step { return nil }

func (nothing) Run(context.Context, string, step.Call) (step.Result, error) {
	return step.Result{}, errors.New("no manager")
}
