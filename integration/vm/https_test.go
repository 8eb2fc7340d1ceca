//go:build vm

package vm

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/integration/lab"
	"github.com/bessemer-metal/bessemer/integration/qemu"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// TestT11_FirmwareLoadsTheRamdiskOverHTTPS: the boot interface redfish-https on UEFI firmware (requirement 90). It trusts the
// server's own certificate, loads the ramdisk from the address that the BMC was given, and the agent proves itself by what was in
// it (A1). The address opens nothing after that.
func TestT11_FirmwareLoadsTheRamdiskOverHTTPS(t *testing.T) {
	built, dir := ground(t, "https")
	l, err := lab.Start(t.Context(), lab.Config{
		Dir: dir, Cache: filepath.Join(built.Dir, "cache"), Bessemer: built.Bessemer, ISO: built.Ramdisk.ISO, Accel: "tcg",
		Args:     []string{"--boot-tls-listen", "127.0.0.1:0", "--advertise-boot-tls", lab.GuestHost, "--base-program", built.Ramdisk.UKI},
		Machines: []emulator.MachineConfig{{Name: "one", QEMU: &qemu.Config{CPUs: 2, MemoryMB: 512}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rack{Lab: l, t: t, dir: dir}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			r.tell()
		}
	})
	m := l.Emulator.Machine("one")
	trusted, err := os.ReadFile(filepath.Join(dir, "server", "boot.crt"))
	if err != nil {
		t.Fatal(err)
	}
	// As an operator has the firmware trust the server.
	body, err := json.Marshal(map[string]string{"CertificateString": string(trusted), "CertificateType": "PEM"})
	if err != nil {
		t.Fatal(err)
	}
	enrol, err := http.NewRequestWithContext(t.Context(), "POST", m.URL()+m.SystemPath()+"/Boot/Certificates", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	enrol.SetBasicAuth(lab.Username, lab.Password)
	enrol.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(enrol)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("the BMC answers %s", answer.Status)
	}

	if _, err := l.Enroll(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Client.PatchNode(t.Context(), "one", []api.PatchOp{{Op: "add", Path: "/boot_interface", Value: "redfish-https"}}); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"manage", "inspect"} {
		r.ask(t, "one", api.Provision{Target: target})
		r.until(t, "one", state.Manageable)
	}
	r.says(t, m, "loaded over the network: server https://"+lab.GuestHost, 1)
	if m.On() || m.Medium() != "" || m.View().Boot.Enabled != "Disabled" {
		t.Errorf("the machine is left on (%v), with %q in its drive and the override %+v", m.On(), m.Medium(), m.View().Boot)
	}
	said, err := os.ReadFile(m.Console())
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`Uri\(https://` + regexp.QuoteMeta(lab.GuestHost) + `:(\d+)(/boot/[^)]+\.efi)\)`).FindSubmatch(said)
	if url == nil {
		t.Fatal("the firmware does not say what it loaded")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: lab.GuestHost}}}
	again, err := client.Get("https://127.0.0.1:" + string(url[1]) + string(url[2]))
	if err != nil {
		t.Fatal(err)
	}
	again.Body.Close()
	if again.StatusCode != http.StatusNotFound {
		t.Errorf("the address of a boot that is over answers %s", again.Status)
	}
	if log, err := os.ReadFile(l.ServerLog()); err != nil || strings.Contains(string(log), strings.Split(string(url[2]), "/")[2]) {
		t.Errorf("the server's log holds the address, or can't be read: %v", err)
	}
}
