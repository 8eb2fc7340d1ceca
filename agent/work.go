package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/agent/image"
	"github.com/bessemer-metal/bessemer/agent/inventory"
	"github.com/bessemer-metal/bessemer/agent/managers"
	"github.com/bessemer-metal/bessemer/agent/run"
	"github.com/bessemer-metal/bessemer/agent/system"
	"github.com/bessemer-metal/bessemer/hardware-managers/all"
	"github.com/bessemer-metal/bessemer/shared/hardware"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// work takes the inventory and works for the server until ctx ends: the channel brings commands, the executor runs
// them, the log is shipped, the memory is watched. It returns after all of them have.
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
	parts := all.Parts{
		Root: os.DirFS(s.root), BootMedium: s.medium.Name, Exec: system.NewRunner(s.root), Notes: filepath.Join(dir, "raid"),
		Firmware: firmware(s.root), Rescue: system.RescueLogin{Root: s.root}, Now: time.Now, Log: s.log,
	}
	arrays := all.Arrays(parts)
	if err := arrays.Release(ctx); err != nil { // one that an earlier process of this boot left running
		s.console.Say("raid", "%v", err)
	}
	inv := inventory.Read(ctx, inventory.Live(s.medium.Name), s.log)
	disks, problems := arrays.Inventory(ctx)
	inv.Disks, inv.Problems = append(inv.Disks, disks...), append(inv.Problems, problems...)
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
	set, err := managers.Load(ctx, &hardware.Machine{
		Root: parts.Root, Exec: parts.Exec, Inventory: inv, Log: s.log,
	}, all.Managers(parts))
	if err != nil {
		return err
	}
	for _, p := range set.Problems() {
		s.console.Say("managers", "%s", p)
	}
	executor := run.New(run.Config{Server: client, Manager: narrator{set, s.console, s.kept}, Journal: journal, Now: time.Now, Log: s.log})

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	for _, part := range []func() error{
		func() error {
			// The first heartbeat may already end this machine's work: an inspection asks for no more.
			if _, err := client.Lookup(ctx); err != nil {
				return err
			}
			s.kept.Flush(ctx, lastWords)
			return client.Run(ctx, executor, channel.Offer{Steps: set.Steps(), Versions: set.Versions()})
		},
		func() error { return executor.Run(ctx) },
		func() error { return s.kept.Ship(ctx, client.Ship) },
		func() error { return watchMemory(ctx, s.root, s.log) },
	} {
		wg.Go(func() { stop(part()) }) // none of them ends before the others
	}
	wg.Wait()
	return context.Cause(ctx)
}

// firmware opens the machine's boot manager when a step needs it: a machine that was not booted by UEFI has none.
func firmware(root string) func() (image.Firmware, error) {
	return func() (image.Firmware, error) {
		f, err := system.OpenFirmware(root)
		if err != nil {
			return nil, err
		}
		return f, nil
	}
}

// lastWords is how long the log may take to reach the server before something is told that may end the machine's power.
const lastWords = 5 * time.Second

// narrator tells on the console what the machine is doing, for whoever stands before it, and sees to it that a step's
// last words reach the server before its result does: the machine may be powered off upon that.
type narrator struct {
	*managers.Set
	console *system.Console
	kept    *channel.Log
}

// Run runs the step and tells when it begins and how it ended.
func (n narrator) Run(ctx context.Context, name string, c step.Call) (step.Result, error) {
	n.console.Say("step", "step %s begins, on %d disks", name, len(c.Devices))
	res, err := n.Set.Run(ctx, name, c)
	if err != nil {
		n.console.Say("step", "step %s failed: %v", name, err)
	} else {
		n.console.Say("step", "step %s ended well", name)
	}
	n.kept.Flush(context.WithoutCancel(ctx), lastWords)
	return res, err
}
