package redfish

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/conductor/bmctest"
	"github.com/bessemer-metal/bessemer/server/redfish/target"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func TestContract(t *testing.T) {
	bmctest.Run(t, func(t *testing.T) conductor.BMC { return newLab(t).bmc(t) })
	bmctest.RunDriver(t, newLab(t).driver, info(), map[string]string{target.KeyPassword: password})
}

func TestFacts(t *testing.T) {
	for _, auth := range []string{"auto", "session", "basic"} {
		t.Run(auth, func(t *testing.T) {
			l := newLab(t)
			got, err := l.bmc(t, target.KeyAuth, auth).Facts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			off := false
			want := conductor.Facts{
				Power: conductor.PowerOff, Vendor: "Acme", Model: "M1", Serial: "S1", UUID: "aaaaaaaa-0000-4000-8000-000000000001",
				BMCModel: "B1", BMCFirmware: "7.0", BIOSVersion: "2.1", BootMode: "uefi", SecureBoot: &off, Health: "OK", BootModes: []string{"uefi", "bios"},
				PowerActs:   []conductor.PowerAction{conductor.On, conductor.ForceOff, conductor.GracefulShutdown},
				BootDevices: []string{"cdrom", "disk", "pxe", "uefihttp"}, MACs: []string{"52:54:00:aa:00:01", "52:54:00:aa:00:02"},
				VirtualMedia: true, BootURI: &off, BIOS: map[string]any{"BootMode": "Uefi", "ProcHyperthreading": "Enabled", "NumCores": float64(8)},
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("facts are\n%+v, expected\n%+v", got, want)
			}
			if sessions := auth != "basic"; sessions != (l.made == 1) {
				t.Errorf("%d sessions were made", l.made)
			}
		})
	}
}

func TestFactsWithoutOptionalParts(t *testing.T) {
	l := newLab(t)
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		for _, gone := range []string{"/SecureBoot", "/EthernetInterfaces", "/Bios", "/VirtualMedia"} {
			if strings.HasSuffix(r.URL.Path, gone) {
				http.Error(w, "{}", http.StatusNotFound)
				return true
			}
		}
		return false
	}
	got, err := l.bmc(t).Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.SecureBoot != nil || got.MACs != nil || got.BIOS != nil || got.VirtualMedia || got.Model != "M1" {
		t.Errorf("facts are %+v", got)
	}
}

func TestAutoFallsBackToBasic(t *testing.T) {
	l := newLab(t)
	l.noSessions = true
	if _, err := l.bmc(t).Power(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.made != 0 || l.refused != 0 {
		t.Errorf("%d sessions, %d refusals", l.made, l.refused)
	}
	if _, err := l.bmc(t, target.KeyAuth, "session").Power(t.Context()); err == nil {
		t.Error("auth type session works without sessions")
	}
}

func TestSystemIsChosen(t *testing.T) {
	l := newLab(t)
	l.lie = func(path string, o map[string]any) {
		if path == "/redfish/v1/Systems" {
			o["Members"] = l.refs("/redfish/v1/Systems/1", "/redfish/v1/Systems/2")
		}
	}
	_, err := l.bmc(t).Power(t.Context())
	if !fault.Has(err, fault.DriverInfoMissing) || !strings.Contains(err.Error(), "/redfish/v1/Systems/1, /redfish/v1/Systems/2") {
		t.Errorf("two systems and none named give: %v", err)
	}
	for _, id := range []string{"1", "/redfish/v1/Systems/1"} {
		if p, err := l.bmc(t, target.KeySystem, id).Power(t.Context()); err != nil || p != conductor.PowerOff {
			t.Errorf("system %s: %q, %v", id, p, err)
		}
	}
	if _, err := l.bmc(t, target.KeySystem, "3").Power(t.Context()); !fault.Has(err, fault.DriverInfoMissing) {
		t.Errorf("an unknown system gives %v", err)
	}
}

func TestSetMediaReplacesAndEmpties(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t)
	for _, url := range []string{"http://192.0.2.7/old.iso", medium, medium} {
		if err := b.SetMedia(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		if l.do(func() {}); l.image != url {
			t.Fatalf("the drive holds %q, expected %q", l.image, url)
		}
	}
	if n := l.count("POST /redfish/v1/Managers/bmc/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"); n != 2 {
		t.Errorf("inserted %d times, expected 2: the same medium is not inserted again", n)
	}
	if err := b.SetMedia(t.Context(), ""); err != nil || l.inserted {
		t.Errorf("eject: %v, inserted %v", err, l.inserted)
	}
}

// Some BMCs refuse the plain form of InsertMedia and demand the transfer protocol.
func TestInsertTriesTheFormsThatMakesDemand(t *testing.T) {
	l := newLab(t)
	refusals := 2
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "InsertMedia") && refusals > 0 {
			refusals--
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		return false
	}
	if err := l.bmc(t).SetMedia(t.Context(), medium); err != nil {
		t.Fatal(err)
	}
	if l.image != medium {
		t.Errorf("the drive holds %q", l.image)
	}
}

func TestUnlistedActsAreUnsupported(t *testing.T) {
	l := newLab(t)
	l.lie = func(path string, o map[string]any) {
		if path == "/redfish/v1/Systems/1" {
			o["Actions"] = map[string]any{"#ComputerSystem.Reset": map[string]any{"target": path + "/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": []string{"On", "PushPowerButton"}}}
			o["Boot"].(map[string]any)["BootSourceOverrideTarget@Redfish.AllowableValues"] = []string{"Hdd", "UsbCd"}
		}
	}
	b := l.bmc(t)
	if err := b.SetPower(t.Context(), conductor.ForceOff); !fault.Has(err, fault.BMCUnsupported) || !strings.Contains(err.Error(), "PushPowerButton") {
		t.Errorf("an act that is not listed gives %v", err)
	}
	if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "pxe"}); !fault.Has(err, fault.BMCUnsupported) {
		t.Errorf("a device that is not listed gives %v", err)
	}
	if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom"}); err != nil || l.boot["BootSourceOverrideTarget"] != "UsbCd" {
		t.Errorf("the other name of the CD drive: %v, %v", err, l.boot["BootSourceOverrideTarget"])
	}
	if len(l.resets) != 0 {
		t.Errorf("the BMC was sent %v", l.resets)
	}
}

func TestSetBootGoesToSettingsWhereTheSystemIsReadOnly(t *testing.T) {
	l := newLab(t)
	l.lie = func(path string, o map[string]any) {
		if path == "/redfish/v1/Systems/1" {
			o["@Redfish.Settings"] = map[string]any{"SettingsObject": l.ref("/redfish/v1/Systems/1/SD")}
		}
	}
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodPatch && r.URL.Path == "/redfish/v1/Systems/1":
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.URL.Path == "/redfish/v1/Systems/1/SD" && r.Method == http.MethodPatch:
			l.do(func() {
				l.boot["BootSourceOverrideTarget"], l.boot["BootSourceOverrideEnabled"] = "Cd", "Once"
			})
		case r.URL.Path == "/redfish/v1/Systems/1/SD":
			_, _ = w.Write([]byte("{}"))
		default:
			return false
		}
		return true
	}
	if err := l.bmc(t).SetBoot(t.Context(), conductor.BootTarget{Device: "cdrom"}); err != nil {
		t.Fatal(err)
	}
}

// Some BMCs give tags that they do not accept themselves.
func TestSetBootWithoutATagWhereTagsAreOfNoUse(t *testing.T) {
	l := newLab(t)
	l.before = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method != http.MethodPatch:
			return false
		case r.Header.Get("If-Match") != "":
			w.WriteHeader(http.StatusPreconditionFailed)
		default:
			l.do(func() { l.boot["BootSourceOverrideTarget"], l.boot["BootSourceOverrideEnabled"] = "Pxe", "Once" })
		}
		return true
	}
	if err := l.bmc(t).SetBoot(t.Context(), conductor.BootTarget{Device: "pxe"}); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesAllAtOnce(t *testing.T) {
	d := newLab(t).driver
	err := d.Validate(map[string]any{target.KeyVerify: "true"})
	if !fault.Has(err, fault.DriverInfoMissing) {
		t.Fatalf("got %v", err)
	}
	for _, key := range []string{target.KeyAddress, target.KeyUsername, target.KeyPassword} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%q does not name %s", err, key)
		}
	}
	err = d.Validate(info(target.KeyAddress, "ftp://bmc", target.KeyAuth, "magic", target.KeyVerify, "maybe", target.KeySystem, "http://other/x"))
	if !fault.Has(err, fault.RequestInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, key := range []string{target.KeyAddress, target.KeyAuth, target.KeyVerify, target.KeySystem} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%q does not name %s", err, key)
		}
	}
}

func TestAddress(t *testing.T) {
	if got := newLab(t).driver.Address(info(target.KeyAddress, "https://[fe80::1]:8443")); got != "fe80::1" {
		t.Errorf("address is %q", got)
	}
}

func TestCloseLogsOut(t *testing.T) {
	l := newLab(t)
	if _, err := l.bmc(t).Power(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.driver.Close(t.Context())
	if !slices.Contains(l.log, "DELETE /redfish/v1/SessionService/Sessions/token-1") {
		t.Errorf("no session was ended: %v", l.log)
	}
}

// An address is as long as one may be (conductor.MediumURL), and may hold what is not shown to anybody as it is: it is compared as it is.
func TestAnyAddressIsReadBack(t *testing.T) {
	l := newLab(t)
	b := l.bmc(t)
	for name, url := range map[string]string{
		"signed": "https://192.0.2.20/live.iso?signature=" + strings.Repeat("a", 2048-38),
		"spaces": "https://192.0.2.20/a  b.iso",
	} {
		if _, err := conductor.MediumURL("iso", url, "https"); err != nil {
			t.Fatal(err)
		}
		if err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "uefihttp", Always: true, UEFI: true, URL: url}); err != nil {
			t.Errorf("%s, of %d bytes: %v", name, len(url), err)
		}
	}
	l.lie = func(path string, o map[string]any) {
		if boot, is := o["Boot"].(map[string]any); is {
			boot["HttpBootUri"] = "https://192.0.2.20/older.iso"
		}
	}
	err := b.SetBoot(t.Context(), conductor.BootTarget{Device: "uefihttp", UEFI: true, URL: medium})
	if err == nil || !strings.Contains(err.Error(), "HttpBootUri") || strings.Contains(err.Error(), "https://192") || strings.Contains(err.Error(), "canary") {
		t.Errorf("a BMC that keeps its own address: %v", err)
	}
}
