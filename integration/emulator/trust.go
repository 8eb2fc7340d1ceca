package emulator

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"slices"

	"github.com/bessemer-metal/bessemer/integration/bmc"
)

func (q *request) trustPath() string { return q.m.SystemPath() + "/Boot/Certificates" }

// bootTrust lists the certificates that the machine's firmware trusts when it boots over HTTPS.
func (q *request) bootTrust() reply {
	var l []string
	for _, c := range q.m.Trusted() {
		l = append(l, q.trustPath()+"/"+c.ID)
	}
	return collection(q.trustPath(), "CertificateCollection", "Boot Certificates", l)
}

func (q *request) trustBoot() reply {
	var in struct{ CertificateString, CertificateType string }
	if a, fine := q.decode(&in); !fine {
		return a
	}
	if in.CertificateType != "PEM" {
		return notInList("CertificateType", in.CertificateType, []string{"PEM"})
	}
	wrong := failure(http.StatusBadRequest, "PropertyValueFormatError", "The value for the property CertificateString is no certificate in PEM.", "#/CertificateString")
	block, _ := pem.Decode([]byte(in.CertificateString))
	if block == nil || block.Type != "CERTIFICATE" {
		return wrong
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return wrong
	}
	a := q.change("a certificate for HTTPS boot", func(context.Context) error { q.m.Trust(in.CertificateString, block.Bytes); return nil })
	if a.status != http.StatusNoContent {
		return a
	}
	for _, c := range slices.Backward(q.m.Trusted()) {
		if c.PEM == in.CertificateString {
			return reply{status: http.StatusCreated, body: q.certificate(c), header: http.Header{"Location": {q.trustPath() + "/" + c.ID}}}
		}
	}
	return a // a fault let it be
}

func (q *request) certificate(c bmc.Certificate) object {
	return object{"@odata.id": q.trustPath() + "/" + c.ID, "@odata.type": "#Certificate.v1_6_0.Certificate", "Id": c.ID, "Name": "Boot Certificate " + c.ID,
		"CertificateString": c.PEM, "CertificateType": "PEM", "CertificateUsageTypes": []string{"Web"}}
}

func (q *request) bootCertificate() reply {
	for _, c := range q.m.Trusted() {
		if c.ID == q.PathValue("id") {
			return ok(q.certificate(c))
		}
	}
	return notFound(q.URL.Path)
}

func (q *request) distrustBoot() reply {
	if a := q.bootCertificate(); a.status != http.StatusOK {
		return a
	}
	return q.change("a certificate for HTTPS boot", func(context.Context) error { q.m.Distrust(q.PathValue("id")); return nil })
}
