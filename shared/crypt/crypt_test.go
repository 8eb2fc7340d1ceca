package crypt

import (
	"bytes"
	"strings"
	"testing"
)

// The hashes are those that the C library and openssl passwd -6 make.
func TestMatchKnowsWhatOthersMade(t *testing.T) {
	for _, c := range []struct{ hash, password string }{
		{"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"},
		{"$6$saltstring$MO53nAXQUKXVLlsbiXyPgMsR6q10N7eF7sPvanwdXnEeCj5kE3eYaRvFv0wVW1UZ4SnNTzc1v4OCOq1ASDQZY0", "a"},
		{"$6$saltstring$fDCpaOvEsbTymCRBN8Bn8YybER8b/Kq6jhMhu05Rao6zrPJzrQHYES6u1W15iJGXgIV/fGceGoc9DJrfQVsYq1", "ünï"},
		{"$6$saltstring$uqSsSSqZyQsH8bincZPw8CylGYr4ZAEMVcnhkx5s8KX7Hy4/BXGFc.ycq8nO3GcgPxYQ/KhyXyR2peBfULrza/", "0123456789012345678901234567890123456789012345678901234567890123456789"},
		{"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.", "Hello world!"},
		{"$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1", "a very much longer text to encrypt.  This one even stretches over morethan one line."},
		{"$6$rounds=1000$s$u6h1nDplZjxDo4zJTtL/gDw7SGioQGm.0uRtQXjSgB6lTpGGOfGi4A6UMV.7Q7d2K2ppsidkHUrit0FKUiAv71", ""},
	} {
		if !Match(c.hash, c.password) {
			t.Errorf("%q does not match %s", c.password, c.hash)
		}
		if Match(c.hash, c.password+"x") || Match(c.hash[:len(c.hash)-1]+"_", c.password) {
			t.Errorf("another password, or another hash, matches %s", c.hash)
		}
	}
}

func TestHash(t *testing.T) {
	one, err := Hash("canary", []byte("0123456789ab"))
	if err != nil {
		t.Fatal(err)
	}
	two, _ := Hash("canary", []byte("0123456789ac"))
	if one == two || strings.Contains(one, "canary") || !strings.HasPrefix(one, "$6$rounds=50000$") {
		t.Errorf("%s and %s", one, two)
	}
	if !Match(one, "canary") || Match(one, "Canary") {
		t.Errorf("%s is not the hash of its password", one)
	}
	if _, err := Hash("canary", []byte("short")); err == nil {
		t.Error("a salt of five bytes is taken")
	}
	if _, err := Hash(strings.Repeat("x", maxPass+1), bytes.Repeat([]byte{1}, 12)); err == nil {
		t.Error("a password without bound is taken") // I25
	}
}

// A hash comes over a wire: what it asks for is bounded (I25), and no other form matches by chance.
func TestI25_OddHashesMatchNothing(t *testing.T) {
	for _, hash := range []string{
		"", "$6$", "$6$salt", "$5$salt$x", "*", "!", "plain", "$6$rounds=999999999$salt$x", "$6$rounds=1$salt$x", "$6$rounds=x$salt$x",
		"$6$rounds=1000$salt", "$6$" + strings.Repeat("s", 17) + "$x",
	} {
		if Match(hash, "plain") || Match(hash, "") {
			t.Errorf("%q matches", hash)
		}
	}
}
