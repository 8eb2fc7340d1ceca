package login_test

import (
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func basic(t *testing.T, now func() time.Time) *login.Basic {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	b, err := login.NewBasic(strings.NewReader("ann:"+string(hash)+"\nbob:"+string(hash)+"\n"), strings.NewReader("ann:admin\nbob:admin\n"), now)
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
		if err := login.CheckListen(basic(t, time.Now), a, false); err != nil {
			t.Errorf("%s with credentials: %v", addr, err)
		}
	}
}

func TestUserFilesThatAreNone(t *testing.T) {
	for _, file := range []string{"", "ann", "ann:plain", "ann:{SHA}x", ":$2y$05$x", "ann :$2a$04$" + strings.Repeat("a", 53),
		"ann:$2a$17$" + strings.Repeat("a", 53), "ann:$2b$31$" + strings.Repeat("a", 53)} {
		_, err := login.NewBasic(strings.NewReader(file), strings.NewReader("ann:admin"), time.Now)
		if err == nil {
			t.Errorf("the user file %q is accepted", file)
		} else if strings.Contains(file, "$31$") && !(strings.Contains(err.Error(), `"ann"`) && strings.Contains(err.Error(), "bessemer user set")) {
			t.Errorf("the user file %q is refused, and neither whose hash it is nor what to do is said: %v", file, err)
		}
	}
}

// A flood of wrong passwords, each of which takes a tenth of a second of a processor to refuse, ends at its sender's budget: who
// is logged in there goes on, right credentials cost none of it, and other addresses are not touched.
func TestT06_I25_WrongPasswordsOfOneAddressAreBounded(t *testing.T) {
	clock := time.Now()
	b := basic(t, func() time.Time { return clock })
	try := func(from, name, password string) fault.Reason {
		r := httptest.NewRequest("GET", "http://lab.example/v1/nodes", nil)
		r.RemoteAddr = from
		r.SetBasicAuth(name, password)
		_, _, err := b.Authenticate(r)
		if err == nil {
			return ""
		}
		return fault.From(err).Reason
	}
	expect := func(what, from, name, password string, want fault.Reason) {
		t.Helper()
		if got := try(from, name, password); got != want {
			t.Errorf("%s: %q, expected %q", what, got, want)
		}
	}
	const flood, rack, other = "192.0.2.1:40000", "192.0.2.1:50000", "192.0.2.2:40000"
	expect("one who logs in before the flood", rack, "bob", "right", "")
	for i := range 30 {
		expect("wrong password "+strconv.Itoa(i), flood, "ann", "wrong"+strconv.Itoa(i), fault.RequestAuth)
	}
	expect("one more", flood, "ann", "wrong", fault.RequestRate)
	expect("one more of nobody", flood, "eve", "wrong", fault.RequestRate)
	expect("from another port", rack, "ann", "wrong", fault.RequestRate)
	expect("who is logged in there", rack, "bob", "right", "")
	expect("who is not yet", rack, "ann", "right", fault.RequestRate)
	expect("another address", other, "ann", "right", "")
	expect("another address with a wrong password", other, "ann", "wrong", fault.RequestAuth)
	clock = clock.Add(time.Second)
	expect("a second later", flood, "ann", "wrong", fault.RequestAuth)
	expect("and at once again", flood, "ann", "wrong", fault.RequestRate)
	expect("an IPv6 address", "[2001:db8::1]:1", "ann", "wrong", fault.RequestAuth)
	for range 40 {
		try("[2001:db8::2]:1", "ann", "wrong")
	}
	expect("the same machine's other address", "[2001:db8::1]:1", "ann", "wrong", fault.RequestRate)

	// Right credentials that are asked for anew, since the files were replaced, are no flood.
	users, err := login.UserLine("ann", "right")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := b.Replace(strings.NewReader(users), strings.NewReader("ann:admin")); err != nil {
			t.Fatal(err)
		}
		for range 29 {
			expect("after the files changed", "192.0.2.3:1", "ann", "right", "")
		}
	}
}

// TestT06_I25_WhoComesThroughAProxyIsNotShutOut: a proxy on the server's host has one address for all who come through it. One of
// them with wrong passwords must not keep the others from logging in.
func TestT06_I25_WhoComesThroughAProxyIsNotShutOut(t *testing.T) {
	clock := time.Now()
	for _, proxy := range []string{"127.0.0.1:40000", "127.0.0.9:40000", "[::1]:40000", "[::ffff:127.0.0.1]:40000"} {
		b := basic(t, func() time.Time { return clock })
		try := func(password string) error {
			r := httptest.NewRequest("GET", "http://lab.example/v1/nodes", nil)
			r.RemoteAddr = proxy
			r.SetBasicAuth("ann", password)
			_, _, err := b.Authenticate(r)
			return err
		}
		for range 40 {
			if err := try("wrong"); !fault.Has(err, fault.RequestAuth) {
				t.Fatalf("a wrong password through %s: %v", proxy, err)
			}
		}
		if err := try("right"); err != nil {
			t.Errorf("after 40 wrong passwords through %s nobody else is let in there: %v", proxy, err)
		}
	}
}

// dear is a hash whose cost is higher than the least, and taken.
var dear = regexp.MustCompile(`\$2[a-z]?\$(0[5-9]|1[0-6])`)

// FuzzI25_UserFile: any bytes in the place of the user file are users with hashes, each once, or an error that says where it is wrong;
// nobody is let in by what is no hash.
func FuzzI25_UserFile(f *testing.F) {
	hash := []byte("$2a$04$htTGmFH6D/I.VBLpFEqU3eaSe07R4LvvPlunFT6vrdxbA1B6.ByQe") // of "right"; the same in each process of a run
	for _, s := range []string{"ann:" + string(hash), "# x\n\nann:" + string(hash) + "\r\nbob:" + string(hash), "ann:" + string(hash[:20]), "ann:$2a$31$" + string(hash[7:]), "ann", ":", "ann::" + string(hash), "\x00:" + string(hash)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if dear.MatchString(text) {
			return // may take seconds by design
		}
		b, err := login.NewBasic(strings.NewReader(text), strings.NewReader("ann:admin\n"), time.Now)
		if err != nil {
			if err.Error() == "" {
				t.Fatal("an error without words")
			}
			return
		}
		for password, may := range map[string]bool{"right": strings.Contains(text, string(hash)), "": false} {
			r := httptest.NewRequest("GET", "http://127.0.0.1/v1/nodes", nil)
			r.SetBasicAuth("ann", password)
			if name, grant, err := b.Authenticate(r); err == nil && (!may || name != "ann" || grant.None()) {
				t.Fatalf("%q lets %q in with %q", text, name, password)
			}
		}
	})
}

// FuzzI25_Credentials: no header lets anybody in who is no user, and none crashes.
func FuzzI25_Credentials(f *testing.F) {
	for _, h := range []string{"", "Basic", "Basic !!", "basic YW5uOnJpZ2h0", "Basic YW5uOndyb25n", "Bearer x", "Basic Og==", "Basic \x00"} {
		f.Add(h)
	}
	clock := time.Now()
	b := basic(&testing.T{}, func() time.Time { clock = clock.Add(time.Hour); return clock }) // what was wrong before is forgiven
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
