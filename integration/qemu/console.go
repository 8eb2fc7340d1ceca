package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"regexp"
	"time"
)

// Progress is how far a boot has come, as far as the console tells.
type Progress string

// The stages, in order; a machine that finds nothing to boot ends in NothingToBoot.
const (
	PoweredOn     Progress = "powered on"
	Firmware      Progress = "firmware chose a boot option"
	Loader        Progress = "loader started"
	NothingToBoot Progress = "nothing to boot"
	System        Progress = "operating system runs"
)

// What the firmware and an installed system say. OVMF's lines carry cursor codes around them.
var (
	loading  = regexp.MustCompile(`BdsDxe: loading (Boot[0-9A-F]{4}) "([^"]*)"`)
	starting = regexp.MustCompile(`BdsDxe: starting (Boot[0-9A-F]{4}) "([^"]*)"`)
	seeking  = regexp.MustCompile(`BdsDxe: failed to (?:load|start) Boot[0-9A-F]{4} "([^"]*)"|>>(Start (?:PXE|HTTP)[^.]*)`)
	nothing  = regexp.MustCompile(`UEFI Interactive Shell|EFI Internal Shell|BdsDxe: No bootable option`)
	system   = regexp.MustCompile(`\S+ login: |Linux version \S+`)
)

// watcher turns a console's output into progress.
type watcher struct {
	last   string
	line   []byte // what is not yet followed by a line's end
	report func(Progress, string)
}

func (w *watcher) write(p []byte) {
	w.line = append(w.line, p...)
	for {
		end := bytes.IndexAny(w.line, "\r\n")
		if end < 0 {
			break
		}
		w.scan(w.line[:end])
		w.line = w.line[end+1:]
	}
	w.scan(w.line) // a prompt has no line's end
	w.line = w.line[max(0, len(w.line)-4096):]
}

func (w *watcher) scan(line []byte) {
	set := func(p Progress, detail []byte) {
		if at := string(p) + string(detail); w.last != at {
			w.last = at
			w.report(p, string(bytes.TrimSpace(detail)))
		}
	}
	switch {
	case nothing.Match(line):
		set(NothingToBoot, nothing.Find(line))
	case starting.Match(line):
		set(Loader, starting.FindSubmatch(line)[2])
	case loading.Match(line):
		set(Firmware, loading.FindSubmatch(line)[2])
	case seeking.Match(line):
		found := seeking.FindSubmatch(line)
		set(Firmware, append(found[1], found[2]...))
	case system.Match(line):
		set(System, system.Find(line))
	}
}

// follow reads the console's file from an offset on, until ctx ends.
func follow(ctx context.Context, path string, at int64, to func([]byte)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	buf := make([]byte, 16<<10)
	for {
		f, err := os.Open(path)
		if err == nil {
			defer f.Close()
			for {
				n, err := f.ReadAt(buf, at)
				to(buf[:n])
				at += int64(n)
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if n == len(buf) {
					continue
				}
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
			}
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
