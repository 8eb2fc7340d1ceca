package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bessemer-metal/bessemer/integration/figures"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// keepFigures keeps what this run measured for make bench.
func (d *demo) keepFigures(ctx context.Context, all time.Duration) error {
	stages := append(d.took, figures.Figure{What: "all", Value: all.Seconds(), Unit: "s"})
	err := figures.Set{
		Title: "The demo",
		Method: fmt.Sprintf("`make demo`, one run, by the accelerator %s (tcg is without KVM): %d machines at the same time, each with 2 processors and %d MB. "+
			"What `build` and `image` make is in the cache after the first run.", d.lab.Emulator.Accelerator(), len(d.machines), memoryMB),
		Rows: stages,
	}.Save(d.root, "demo")
	return errors.Join(err, d.keepMemory(ctx))
}

// keepMemory reads what the agents logged of their machines' memory: each boot of the ramdisk is a row.
func (d *demo) keepMemory(ctx context.Context) error {
	set := figures.Set{
		Title: "Memory of a machine at work",
		Method: fmt.Sprintf("The machines of `make demo` have %d MB. The agent logs the least memory that was available to programs (the kernel's MemAvailable, looked at every second). "+
			"Shown is the most that was in use: what the kernel manages (MemTotal, the right column) without that. The ramdisk's own files are part of it.", memoryMB),
	}
	for _, m := range d.machines {
		for i, work := range []string{"inspect", "provide", "deploy"} {
			total, least, err := d.memory(ctx, m, uint64(i+1))
			if err != nil {
				return fmt.Errorf("memory of %s during %s: %w", m.name, work, err)
			}
			if total == 0 {
				continue // powered off before that was shipped, as after an inspection
			}
			set.Rows = append(set.Rows, figures.Figure{What: m.name + ", " + work, Value: float64(total-least) / (1 << 20), Unit: "MiB",
				Target: fmt.Sprintf("≤ %d", total>>20)})
		}
	}
	return set.Save(d.root, "memory")
}

// memory is the last word of an agent about it, in bytes; zeros when it said none.
func (d *demo) memory(ctx context.Context, m machine, boot uint64) (total, least int64, err error) {
	log, err := d.lab.Client.Logs(ctx, m.name, client.LogQuery{Generation: boot})
	if fault.Is(err, fault.NotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer log.Close()
	lines := json.NewDecoder(log)
	for {
		var l struct {
			Message string `json:"msg"`
			Total   int64  `json:"total"`
			Least   int64  `json:"least_available"`
		}
		switch err := lines.Decode(&l); {
		case err == io.EOF:
			return total, least, nil
		case err != nil:
			return 0, 0, fmt.Errorf("the agent's log of boot %d: %w", boot, err)
		}
		if l.Message == "memory" {
			total, least = l.Total, l.Least
		}
	}
}
