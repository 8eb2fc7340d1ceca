// Package crypt makes and checks password hashes in the form that Linux keeps in /etc/shadow: SHA-512 crypt, "$6$". It is
// pure; who may try a password, and how often, is its callers' business. Start at Hash and Match.
package crypt

import (
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"strconv"
	"strings"
)

// Rounds is how often Hash hashes: ten times the form's default, some 50 ms of a processor, so that who finds a hash
// tries few passwords.
const Rounds = 50_000

const (
	prefix  = "$6$"
	least   = 1000 // rounds that the form allows
	most    = 1_000_000
	maxSalt = 16
	maxPass = 4096 // bytes of a password
)

// alphabet is the form's own base64.
const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Hash makes the hash of a password with 16 characters of salt made from random, of which there must be at least 12 bytes.
func Hash(password string, random []byte) (string, error) {
	if len(random) < 12 {
		return "", fmt.Errorf("the salt is made of %d random bytes, expected at least 12", len(random))
	}
	if len(password) > maxPass {
		return "", fmt.Errorf("the password has %d bytes, expected at most %d", len(password), maxPass)
	}
	var salt strings.Builder
	for i := 0; i < 12; i += 3 {
		encode(&salt, random[i], random[i+1], random[i+2], 4)
	}
	return digest(password, salt.String(), Rounds, true), nil
}

// Match tells whether a hash is that of a password. A hash of another form, or of more rounds than a machine should be
// made to do, matches nothing.
func Match(hash, password string) bool {
	rest, ok := strings.CutPrefix(hash, prefix)
	if !ok || len(password) > maxPass {
		return false
	}
	rounds, named := 5000, false
	if text, more, ok := strings.Cut(rest, "$"); ok && strings.HasPrefix(text, "rounds=") {
		n, err := strconv.Atoi(strings.TrimPrefix(text, "rounds="))
		if err != nil || n < least || n > most {
			return false
		}
		rounds, named, rest = n, true, more
	}
	salt, _, ok := strings.Cut(rest, "$")
	if !ok || len(salt) > maxSalt {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(digest(password, salt, rounds, named)), []byte(hash)) == 1
}

// digest is the form's own way (Drepper, "Unix crypt using SHA-256 and SHA-512"); its steps bear his numbers.
func digest(password, salt string, rounds int, named bool) string {
	key, s := []byte(password), []byte(salt)
	b := sha512.New() // 4 to 8
	b.Write(key)
	b.Write(s)
	b.Write(key)
	sumB := b.Sum(nil)
	a := sha512.New() // 1 to 3
	a.Write(key)
	a.Write(s)
	a.Write(repeat(sumB, len(key))) // 9, 10
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 { // 11
			a.Write(sumB)
		} else {
			a.Write(key)
		}
	}
	sum := a.Sum(nil) // 12
	dp := sha512.New()
	for range len(key) { // 13 to 16
		dp.Write(key)
	}
	p := repeat(dp.Sum(nil), len(key))
	ds := sha512.New()
	for range 16 + int(sum[0]) { // 17 to 20
		ds.Write(s)
	}
	q := repeat(ds.Sum(nil), len(s))
	for i := range rounds { // 21
		c := sha512.New()
		if i%2 == 1 {
			c.Write(p)
		} else {
			c.Write(sum)
		}
		if i%3 != 0 {
			c.Write(q)
		}
		if i%7 != 0 {
			c.Write(p)
		}
		if i%2 == 1 {
			c.Write(sum)
		} else {
			c.Write(p)
		}
		sum = c.Sum(sum[:0])
	}
	var out strings.Builder
	out.WriteString(prefix)
	if named {
		fmt.Fprintf(&out, "rounds=%d$", rounds)
	}
	out.WriteString(salt)
	out.WriteByte('$')
	i, j, k := 0, 21, 42
	for range 21 { // 22
		encode(&out, sum[i], sum[j], sum[k], 4)
		i, j, k = j+1, k+1, i+1
	}
	encode(&out, 0, 0, sum[63], 2)
	return out.String()
}

func repeat(b []byte, n int) []byte {
	out := make([]byte, 0, n)
	for len(out) < n {
		out = append(out, b[:min(len(b), n-len(out))]...)
	}
	return out
}

func encode(out *strings.Builder, a, b, c byte, n int) {
	v := uint(a)<<16 | uint(b)<<8 | uint(c)
	for range n {
		out.WriteByte(alphabet[v&0x3f])
		v >>= 6
	}
}
