package emulator_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/integration/emulator"
)

func certificatePEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// The certificates that firmware trusts for HTTPS boot are enrolled through the BMC, and are what the next boot goes by.
func TestBootCertificates(t *testing.T) {
	booted := make(chan emulator.FakeBoot, 1)
	_, n, c := fake(t, emulator.Config{}, emulator.MachineConfig{OnBoot: func(_ context.Context, b emulator.FakeBoot) { booted <- b }})
	const list = sys + "/Boot/Certificates"
	text := certificatePEM(t)
	for _, wrong := range []map[string]any{
		{"CertificateString": "hello", "CertificateType": "PEM"}, {"CertificateString": text, "CertificateType": "PKCS7"}, {"CertificateType": "PEM"},
		{"CertificateString": "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "CertificateType": "PEM"},
	} {
		c.want(400, "POST", list, wrong)
	}
	if got := c.want(200, "GET", list, nil).body["Members@odata.count"]; got != float64(0) || len(n.Trusted()) != 0 {
		t.Errorf("%v are trusted", got)
	}
	if got := c.want(201, "POST", list, map[string]any{"CertificateString": text, "CertificateType": "PEM"}).body["CertificateString"]; got != text {
		t.Errorf("enrolled %v", got)
	}
	if got := c.want(200, "GET", list+"/1", nil).body["CertificateString"]; got != text {
		t.Errorf("it became %v", got)
	}
	c.want(204, "PATCH", sys, map[string]any{"Boot": map[string]any{"BootSourceOverrideTarget": "UefiHttp", "BootSourceOverrideEnabled": "Once", "HttpBootUri": "https://192.0.2.1/x.efi"}})
	c.want(204, "POST", reset, map[string]any{"ResetType": "On"})
	b := <-booted
	if b.Source.Target != "UefiHttp" || b.Source.URI != "https://192.0.2.1/x.efi" || len(b.Source.Trust) != 1 {
		t.Errorf("it boots %+v", b.Source)
	}
	if block, _ := pem.Decode([]byte(text)); string(b.Source.Trust[0]) != string(block.Bytes) {
		t.Error("the firmware trusts another certificate")
	}
	boot, _ := c.want(200, "GET", sys, nil).body["Boot"].(map[string]any)
	if boot["HttpBootUri"] != nil || boot["BootSourceOverrideEnabled"] != "Disabled" {
		t.Errorf("used up, and still %v", boot)
	}
	c.want(204, "DELETE", list+"/1", nil)
	c.want(404, "DELETE", list+"/1", nil)
	c.want(404, "GET", list+"/1", nil)
	if n.Distrust("1") || len(n.Trusted()) != 0 {
		t.Errorf("trusted: %v", n.Trusted())
	}
}
