package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/integration/control"
)

func TestMain(m *testing.M) {
	if os.Getenv("REDFISH_EMULATOR_TEST") != "" { // a test that needs the command as a process of its own
		main()
		return
	}
	os.Exit(m.Run())
}

// The example of the help text is served as it stands, with flags over the file.
func TestServesAConfigurationFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "machines.json")
	if err := os.WriteFile(file, []byte(`{"machines": [{"name": "a", "macs": ["52:54:00:00:00:01"]}, {"name": "b", "listen": "127.0.0.1:0"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--config", file, "--fake", "2", "--dir", filepath.Join(dir, "state"), "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"}, w, io.Discard)
	}()
	said := map[string]string{}
	for lines := bufio.NewScanner(r); len(said) < 6 && lines.Scan(); {
		f := strings.Fields(lines.Text())
		if f[0] == "machine" {
			f = f[1:]
		}
		said[f[0]] = f[1]
	}
	ctl := control.Client{URL: strings.TrimSuffix(said["control"], "/control/v1/machines"), HTTP: &http.Client{}}
	all, err := ctl.Machines(t.Context())
	if err != nil || len(all) != 4 || all[0].MACs[0] != "52:54:00:00:00:01" || all[1].URL == all[0].URL || all[3].Name != "fake-2" {
		t.Errorf("machines: %+v, %v; said %v", all, err, said)
	}
	ctl.HTTP.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestExplainsItself(t *testing.T) {
	var help strings.Builder
	if err := run(t.Context(), []string{"--help"}, io.Discard, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "machines.json") || !strings.Contains(help.String(), "-accelerator") {
		t.Errorf("%v: %s", err, help.String())
	}
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{"machines": [{"nmae": "a"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{"nmae": {"--config", file}, "extra": {"extra"}, "no such file": {"--config", file + "x"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q in it", args, err, want)
		}
	}
}
