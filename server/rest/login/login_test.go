package login_test

import (
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/rest/login"
)

func basic(t *testing.T) *login.Basic {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	b, err := login.NewBasic(strings.NewReader("ann:"+string(hash)+"\nbob:"+string(hash)+"\n"), strings.NewReader("ann:admin\nbob:admin\n"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNoAuthStaysOnLoopback(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:6385": true, "[::1]:6385": true, "0.0.0.0:6385": false, "192.0.2.1:6385": false, "[::]:6385": false} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := login.CheckListen(login.None{}, a, false); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
		if err := login.CheckListen(login.None{}, a, true); err != nil {
			t.Errorf("%s forced: %v", addr, err)
		}
		if err := login.CheckListen(basic(t), a, false); err != nil {
			t.Errorf("%s with credentials: %v", addr, err)
		}
	}
}

func TestUserFilesThatAreNone(t *testing.T) {
	for _, file := range []string{"", "ann", "ann:plain", "ann:{SHA}x", ":$2y$05$x"} {
		if _, err := login.NewBasic(strings.NewReader(file), strings.NewReader("ann:admin")); err == nil {
			t.Errorf("the user file %q is accepted", file)
		}
	}
}

// FuzzI25_Credentials: no header lets anybody in who is no user, and none crashes.
func FuzzI25_Credentials(f *testing.F) {
	for _, h := range []string{"", "Basic", "Basic !!", "basic YW5uOnJpZ2h0", "Basic YW5uOndyb25n", "Bearer x", "Basic Og==", "Basic \x00"} {
		f.Add(h)
	}
	b := basic(&testing.T{})
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "http://127.0.0.1/v1/nodes", nil)
		r.Header.Set("Authorization", header)
		name, grant, err := b.Authenticate(r)
		_, password, _ := r.BasicAuth()
		if err == nil && (grant.None() || password != "right" || name != "ann" && name != "bob") {
			t.Fatalf("%q lets %q in with %q", header, name, password)
		}
	})
}
