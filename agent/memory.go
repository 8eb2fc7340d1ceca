package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	memoryEvery = time.Second
	memoryStep  = 4 << 20 // bytes it must have fallen by to be told again
)

// watchMemory logs the least memory that was available, whenever that fell, until ctx ends: the last of these lines is
// what the work left of this machine's RAM.
func watchMemory(ctx context.Context, root string, log *slog.Logger) error {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	least := int64(1) << 62
	for {
		total, available, err := memory(root)
		if err != nil { // no reason to end the work
			log.Warn("memory is not watched", "err", err)
			<-ctx.Done()
			return ctx.Err()
		}
		if available <= least-memoryStep {
			least = available
			log.Info("memory", "least_available", available, "total", total)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// memory reads how many bytes the kernel manages, and how many of them can be had without swapping.
func memory(root string) (total, available int64, err error) {
	text, err := os.ReadFile(filepath.Join(root, "proc/meminfo"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		for name, into := range map[string]*int64{"MemTotal:": &total, "MemAvailable:": &available} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				if _, err := fmt.Sscanf(rest, "%d kB", into); err != nil {
					return 0, 0, fmt.Errorf("/proc/meminfo: %q: %w", line, err)
				}
				*into <<= 10
			}
		}
	}
	if total == 0 {
		return 0, 0, fmt.Errorf("/proc/meminfo does not tell MemTotal")
	}
	return total, available, nil
}
