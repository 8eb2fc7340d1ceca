package integration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/drivers"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// bootCertificate is what machines are shown that boot over HTTPS, DER. It is good in a bubble's time as well.
var bootCertificate = sync.OnceValue(certificate)

func certificate() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "boot"},
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return der
}

// trust has the machine's firmware trust a certificate.
func (s *bmcSite) trust(der []byte) {
	s.machine.Trust(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), der)
}

// by chooses the node's boot interface; "" is that of virtual media.
func (s *bmcSite) by(boot string) {
	s.t.Helper()
	if s.boot = boot; boot == "" {
		return
	}
	s.trust(bootCertificate())
	_, err := s.c.UpdateNode(s.t.Context(), conductor.Caller{}, "n1", func(n *conductor.Node, _ map[string]string) error {
		n.Interfaces = map[string]string{"boot": boot}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// What may become of a request for a boot over HTTPS, each in turn at every request of it, of the ramdisk and of an ISO.
func TestF22_EveryRequestOfAnHTTPSBootFails(t *testing.T) {
	for name, f := range map[string]emulator.Fault{
		"F21 it hangs":              {Kind: emulator.Delay, Delay: emulator.Duration(3 * time.Minute)},
		"F22 500":                   {Kind: emulator.Status, Status: 500},
		"F22 503":                   {Kind: emulator.Status, Status: 503},
		"F23 ignored":               {Kind: emulator.Ignore},
		"F24 the BMC restarts":      {Kind: emulator.Restart},
		"F25 done, and no answer":   {Kind: emulator.CutAfter},
		"F25 done twice":            {Kind: emulator.Twice},
		"F23 a reading that is old": {Kind: emulator.LiePower, Value: "On"},
	} {
		t.Run(name, func(t *testing.T) { everyRequestBy(t, f, drivers.HTTPBoot) })
		t.Run(name+", of an ISO", func(t *testing.T) { everyRequestOfAnISOBy(t, f, drivers.HTTPBoot) })
	}
}

// A BMC that can't do it, or firmware that would not take the ramdisk from this server, is told of when the node is taken under
// management: the first fails, the second warns. Virtual media are not needed.
func TestVerifyTellsWhetherHTTPSBootCanBe(t *testing.T) {
	const sys, mgr = "GET /redfish/v1/Systems/m1", "GET /redfish/v1/Managers/m1"
	edit := func(match, patch string) *emulator.Fault {
		return &emulator.Fault{Kind: emulator.Edit, Match: match, Value: patch}
	}
	for name, c := range map[string]struct {
		fault   *emulator.Fault
		trusts  func() []byte
		fails   fault.Reason
		says    string
		warning fault.Reason
	}{
		"all is well":             {trusts: bootCertificate},
		"no virtual media":        {trusts: bootCertificate, fault: edit(mgr+"/VirtualMedia/Cd", `{"MediaTypes":["Floppy"]}`)},
		"no UefiHttp":             {trusts: bootCertificate, fault: edit(sys, `{"Boot":{"BootSourceOverrideTarget@Redfish.AllowableValues":["None","Cd","Hdd"]}}`), fails: fault.BMCBootDevice, says: "UefiHttp"},
		"no HttpBootUri":          {trusts: bootCertificate, fault: edit(sys, `{"Boot":{"HttpBootUri":null,"BootSourceOverrideTarget":"None"}}`), fails: fault.BMCBootDevice, says: "HttpBootUri"},
		"nothing is trusted":      {warning: fault.BootNotTrusted},
		"another one is trusted":  {trusts: certificate, warning: fault.BootNotTrusted},
		"it does not say whom":    {fault: edit(sys, `{"Boot":{"Certificates":null}}`)},
		"the list can't be read":  {fault: &emulator.Fault{Kind: emulator.Status, Status: 500, Match: sys + "/Boot/Certificates"}, warning: fault.BMCUnread},
		"there is no such list":   {fault: &emulator.Fault{Kind: emulator.Status, Status: 404, Match: sys + "/Boot/Certificates"}},
		"a certificate is broken": {fault: edit(sys+"/Boot/Certificates/1", `{"CertificateString":"canary"}`), trusts: bootCertificate, warning: fault.BootNotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newBMCSite(t, nil, "password")
				s.by(drivers.HTTPBoot)
				s.machine.Distrust("1")
				if c.trusts != nil {
					s.trust(c.trusts())
				}
				if c.fault != nil {
					f := *c.fault
					f.Match = strings.Replace(f.Match, "Certificates/1", "Certificates/2", 1)
					s.inject(f)
				}
				n := s.do(state.VerbManage, state.Manageable, state.Enroll)
				if n.LastReason != c.fails || !strings.Contains(n.LastError, c.says) {
					t.Errorf("%s, reason %q: %s", n.State, n.LastReason, n.LastError)
				}
				var doubts []fault.Reason
				for _, d := range n.BMC.Doubts {
					doubts = append(doubts, d.Reason)
				}
				if c.warning == "" && len(doubts) > 0 || c.warning != "" && (len(doubts) != 1 || doubts[0] != c.warning) {
					t.Errorf("it is doubted for %v, expected %q", doubts, c.warning)
				}
			})
		})
	}
}
