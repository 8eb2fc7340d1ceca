package login

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionsEndWhenUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSessions(time.Now, time.Minute)
		token, made := s.Create("u", "p", "here")
		other, _ := s.Create("u", "p", "there")
		if x := s.Find(token, "here"); x == nil || x.ID != made.ID || x.User != "u" {
			t.Errorf("found %+v", x)
		}
		if s.Find(token, "there") != nil || s.Find("guess", "here") != nil {
			t.Error("a token opened what it was not made for")
		}
		time.Sleep(time.Minute)
		if len(s.List("here")) != 1 || s.Find(token, "here") == nil {
			t.Error("ended too early")
		}
		time.Sleep(time.Minute + 1)
		if len(s.List("here")) != 0 || s.Find(token, "here") != nil {
			t.Error("never ended")
		}
		if s.Forget("there", "none") || !s.Forget("there", "") || s.Find(other, "there") != nil {
			t.Error("forgotten sessions live on")
		}
	})
}

func TestSessionsAreListedInOrder(t *testing.T) {
	s := NewSessions(time.Now, time.Minute)
	for range 12 {
		s.Create("u", "p", "")
	}
	l := s.List("")
	if l[1].ID != "2" || l[11].ID != "12" {
		t.Errorf("second is %s, last is %s", l[1].ID, l[11].ID)
	}
}

func TestCertificateServesLoopback(t *testing.T) {
	c, err := SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = c
	s.StartTLS()
	defer s.Close()
	leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	res, err := client.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}
