//go:build vm

package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A QEMU machine does not outlive its emulator, even one that is killed.
func TestNoQEMUIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--qemu", "1", "--dir", dir, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--accelerator", "tcg")
	cmd.Env = append(os.Environ(), "REDFISH_EMULATOR_TEST=1")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // ended already, unless the test failed
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		if f := strings.Fields(lines.Text()); f[0] == "machine" {
			url = f[2]
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/Actions/ComputerSystem.Reset", strings.NewReader(`{"ResetType": "On"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", "password")
	client := &http.Client{}
	res, err := client.Do(req)
	if err != nil || res.StatusCode != http.StatusNoContent {
		t.Fatalf("power on: %v, %v", res, err)
	}
	res.Body.Close()
	client.CloseIdleConnections()
	if n := using(t, dir); n != 1 {
		t.Fatalf("%d QEMU processes, 1 expected", n)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // it was killed
	deadline, poll := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer poll.Stop()
	for using(t, dir) > 0 {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("QEMU still runs two minutes after its emulator was killed")
		}
	}
}

// using counts the QEMU processes with a directory on their command line.
func using(t *testing.T, dir string) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err == nil && bytes.HasPrefix(b, []byte(qemuPath(t))) && bytes.Contains(b, []byte(dir)) {
			n++
		}
	}
	return n
}

func qemuPath(t *testing.T) string {
	t.Helper()
	p, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	return p
}
