package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/bessemer-metal/bessemer/shared/inventory"
)

var update = flag.Bool("update", false, "write the golden files anew")

var quiet = slog.New(slog.DiscardHandler)

// recorded unpacks a recorded machine.
func recorded(t testing.TB, name string) string {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, f := range a.Files {
		name, target, link := strings.Cut(f.Name, " -> ")
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if link {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, f.Data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRecordedMachine(t *testing.T) {
	src := Source{
		Root: recorded(t, "qemu.txtar"),
		PermAddr: func(nic string) (string, error) {
			if nic == "eth0" {
				return "52:54:00:aa:00:99", nil
			}
			return "", errors.New("no such command")
		},
		Addresses: func(nic string) (string, string, error) { return "192.0.2.7", "", nil },
	}
	got, err := json.MarshalIndent(Read(t.Context(), src, quiet), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "qemu.json")
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(want), got) {
		t.Errorf("differs from %s (-update writes it anew):\n%s", golden, got)
	}
}

func TestBootMediumIsMarked(t *testing.T) {
	inv := Read(t.Context(), Source{Root: recorded(t, "qemu.txtar"), BootMedium: "sda"}, quiet)
	for _, d := range inv.Disks {
		if d.BootMedium != (d.Name == "/dev/sda") {
			t.Errorf("%s: boot medium %v", d.Name, d.BootMedium)
		}
	}
}

// TestEmptyMachine: nothing can be read, all of it is told, nothing crashes.
func TestEmptyMachine(t *testing.T) {
	inv := Read(t.Context(), Source{Root: t.TempDir()}, quiet)
	if len(inv.Problems) < 4 || inv.Disks == nil || inv.Interfaces == nil || inv.CPU.Architecture == "" {
		t.Errorf("got %+v", inv)
	}
	if _, err := inventory.Targets(inv, nil); err == nil {
		t.Error("an empty machine has disks to erase")
	}
}

func TestReadStopsWhenAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	inv := Read(ctx, Source{Root: recorded(t, "qemu.txtar")}, quiet)
	if len(inv.Disks) != 0 || !strings.Contains(strings.Join(inv.Problems, ";"), "not read") {
		t.Errorf("got %+v", inv)
	}
}

func TestThisMachine(t *testing.T) {
	inv := Read(t.Context(), Live(""), quiet)
	if inv.CPU.Count < 1 || inv.Memory.Total < 1<<20 || inv.Hostname == "" {
		t.Errorf("got %+v", inv)
	}
}

// smbiosTable makes an SMBIOS 3 entry point and a table with memory modules of these sizes in MiB.
func smbiosTable(mib ...uint16) (entry, table []byte) {
	for i, n := range mib {
		b := make([]byte, 40)
		b[0], b[1], b[2] = 17, 40, byte(i)
		b[12], b[13] = byte(n), byte(n>>8)
		table = append(append(table, b...), 0, 0)
	}
	table = append(table, 127, 4, 0xff, 0, 0, 0)
	entry = make([]byte, 24)
	copy(entry, "_SM3_")
	entry[6], entry[7], entry[8], entry[10] = 24, 3, 2, 1
	entry[12] = byte(len(table))
	entry[13] = byte(len(table) >> 8)
	var sum byte
	for _, b := range entry {
		sum += b
	}
	entry[5] = -sum
	return entry, table
}

func TestInstalledMemory(t *testing.T) {
	entry, table := smbiosTable(8192, 0, 4096, 0xffff)
	if n, err := modules(entry, table); n != 12288 || err != nil {
		t.Errorf("got %d MiB, %v", n, err)
	}
}

func FuzzZ3_SMBIOS(f *testing.F) {
	entry, table := smbiosTable(8192, 4096)
	f.Add(entry, table)
	f.Add([]byte("_SM_"), []byte{})
	f.Fuzz(func(t *testing.T, entry, table []byte) {
		if n, err := modules(entry, table); err == nil && (n < 0 || n > 1<<30) {
			t.Errorf("%d MiB", n)
		}
	})
}
