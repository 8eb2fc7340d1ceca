package checksums

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/bessemer-metal/bessemer/server/origin"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

var (
	a64, b64, c128 = strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 128)
	md5            = strings.Repeat("d", 32)
)

func TestFind(t *testing.T) {
	for name, c := range map[string]struct {
		text, algorithm, digest string
		reason                  fault.Reason
	}{
		"the digest alone":    {a64 + "\n", "sha256", a64, ""},
		"in capitals":         {strings.ToUpper(c128), "sha512", c128, ""},
		"sha256sum":           {b64 + "  other.raw\n" + a64 + "  os.raw\n", "sha256", a64, ""},
		"in binary mode":      {b64 + " *xos.raw\n" + a64 + " *os.raw\n", "sha256", a64, ""},
		"with a tab":          {a64 + "\tos.raw", "sha256", a64, ""},
		"one line":            {c128 + "  os.raw", "sha512", c128, ""},
		"of BSD":              {"SHA256 (other.raw) = " + b64 + "\nSHA256 (os.raw) = " + a64 + "\n", "sha256", a64, ""},
		"with comments":       {"# " + b64 + "  os.raw\n\n#os.raw\n" + a64 + "  os.raw\n", "sha256", a64, ""},
		"the first counts":    {a64 + "  os.raw\n" + b64 + "  os.raw\n", "sha256", a64, ""},
		"carriage returns":    {a64 + "  os.raw\r\n" + b64 + "  x\r\n", "sha256", a64, ""},
		"an alone comment":    {"# made today\n" + a64, "sha256", a64, ""},
		"of a longer name":    {b64 + "  my os.raw\n" + a64 + "  os.raw\n", "sha256", a64, ""},
		"empty":               {"", "", "", fault.RequestInvalid},
		"another file":        {a64 + "  os.raw.xz\n" + b64 + "  dir/os.raw\n", "", "", fault.RequestInvalid},
		"one line of another": {a64 + "  other.raw", "", "", fault.RequestInvalid},
		"MD5":                 {md5 + "  os.raw", "", "", fault.RequestInvalid},
		"MD5 alone":           {md5, "", "", fault.RequestInvalid},
		"no hex":              {strings.Repeat("x", 64) + "  os.raw", "", "", fault.RequestInvalid},
		"a page":              {"<html><body>os.raw</body></html>", "", "", fault.RequestInvalid},
		"the name alone":      {"os.raw\nos.raw", "", "", fault.RequestInvalid},
	} {
		algorithm, digest, err := Find(c.text, "os.raw")
		if algorithm != c.algorithm || digest != c.digest || (err != nil) != (c.reason != "") || err != nil && !fault.Has(err, c.reason) {
			t.Errorf("%s: %s %s, %v", name, algorithm, digest, err)
		}
	}
}

// A name may have spaces in it.
func TestFindTakesTheWholeName(t *testing.T) {
	for _, text := range []string{b64 + "  os.raw\n" + a64 + "  my os.raw\n", b64 + " *os.raw\n" + a64 + " *my os.raw\n", "SHA256 (os.raw) = " + b64 + "\nSHA256 (my os.raw) = " + a64} {
		if _, digest, err := Find(text, "my os.raw"); digest != a64 {
			t.Errorf("%q: %s, %v", text, digest, err)
		}
	}
}

func FuzzFind(f *testing.F) {
	for _, text := range []string{"", a64, a64 + "  os.raw", "SHA256 (os.raw) = " + a64, "# x\n" + c128 + " *os.raw"} {
		f.Add(text, "os.raw")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		algorithm, digest, err := Find(text, name)
		if err == nil && (len(digest) != map[string]int{"sha256": 64, "sha512": 128}[algorithm] || strings.Trim(digest, "0123456789abcdef") != "" || !strings.Contains(strings.ToLower(text), digest)) {
			t.Errorf("%q of %q", digest, text)
		}
	})
}

// files is a server of files of checksums, and a reader that may reach it.
func files(t *testing.T) (string, *Reader) {
	mux := http.NewServeMux()
	serve := func(path, text string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	serve("/sums", b64+"  x.raw\n"+a64+"  os.raw\n")
	serve("/large", a64+"  os.raw\n"+strings.Repeat("#\n", maxFile))
	mux.Handle("/moved", http.RedirectHandler("/sums", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop?signature=canary", http.StatusFound))
	mux.Handle("/away", http.RedirectHandler("http://[::1]:1/sums", http.StatusFound))
	h := httptest.NewServer(mux)
	r := New(&origin.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(func() { r.Close(); h.Close() })
	return h.URL, r
}

func TestDigest(t *testing.T) {
	at, r := files(t)
	for _, path := range []string{"/sums", "/moved"} {
		if algorithm, digest, err := r.Digest(t.Context(), at+path, "http://images.example/a/os.raw?x=1"); err != nil || algorithm != "sha256" || digest != a64 {
			t.Errorf("%s: %s %s, %v", path, algorithm, digest, err)
		}
	}
	for list, reason := range map[string]fault.Reason{
		at + "/absent": fault.ImageUnreachable, at + "/loop": fault.ImageUnreachable, at + "/large": fault.RequestInvalid, "http://127.0.0.1:1/": fault.ImageUnreachable,
		"ftp://127.0.0.1/": fault.RequestInvalid, "http://u:canary@127.0.0.1/": fault.RequestInvalid, "http:///sums": fault.RequestInvalid, "%": fault.RequestInvalid,
	} {
		_, _, err := r.Digest(t.Context(), list, "http://images.example/os.raw")
		if !fault.Has(err, reason) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, expected %s", list, err, reason)
		}
	}
	if _, _, err := r.Digest(t.Context(), at+"/sums", "http://images.example/absent.raw"); !fault.Has(err, fault.RequestInvalid) {
		t.Errorf("an image that the file does not name: %v", err)
	}
}

// TestI23_ChecksumsAreFetchedWhereTheServerMayConnect asks for a file in the server's own network, directly and by redirect.
func TestI23_ChecksumsAreFetchedWhereTheServerMayConnect(t *testing.T) {
	at, r := files(t)
	if _, _, err := r.Digest(t.Context(), at+"/away", "http://images.example/os.raw"); !fault.Has(err, fault.OriginRefused) {
		t.Errorf("by redirect: %v", err)
	}
	strict := New(&origin.Policy{})
	defer strict.Close()
	if _, _, err := strict.Digest(t.Context(), at+"/sums", "http://images.example/os.raw"); !fault.Has(err, fault.OriginRefused) {
		t.Errorf("directly: %v", err)
	}
}

// TestI23_NothingThatIsNoDigestIsShown names addresses that hold other things: who may name one is told nothing of what is there.
func TestI23_NothingThatIsNoDigestIsShown(t *testing.T) {
	for name, answer := range map[string]string{
		"a word":                "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ncanary",
		"a line with the name":  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx y\ncanary os.raw",
		"a BSD line":            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx y\nkey (os.raw) = canary",
		"a status":              "HTTP/1.1 404 canary" + strings.Repeat("x", 1000) + "\r\nConnection: close\r\n\r\n",
		"another protocol":      "SSH-2.0-canary\r\n",
		"a redirect to nowhere": "HTTP/1.1 302 Found\r\nLocation: http://canary%zz/" + strings.Repeat("x", 1000) + "\r\nConnection: close\r\n\r\n",
		"another scheme":        "HTTP/1.1 302 Found\r\nLocation: canary://127.0.0.1/\r\nConnection: close\r\n\r\n",
		"an encoding":           "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\ncanary",
		"a length":              "HTTP/1.1 200 OK\r\nContent-Length: canary\r\nConnection: close\r\n\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = http.ReadRequest(bufio.NewReader(c))
				_, _ = c.Write([]byte(answer))
				_ = c.Close()
			}
		}()
		r := New(&origin.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		_, _, err = r.Digest(t.Context(), "http://"+l.Addr().String()+"/x", "http://images.example/os.raw")
		f := fault.From(err)
		if text := f.Message + f.Hint; err == nil || f.Reason == fault.InternalError || strings.Contains(text, "canary") || len(text) > 500 {
			t.Errorf("%s: %.300s (%s)", name, text, f.Reason)
		}
		r.Close()
		_ = l.Close()
	}
}

// TestI22_TheAddressOfAFileOfChecksumsIsInNoError names one that is signed: the error and its cause, which is logged, have the host alone.
func TestI22_TheAddressOfAFileOfChecksumsIsInNoError(t *testing.T) {
	at, r := files(t)
	for _, path := range []string{at + "/absent", at + "/loop", at + "/large", at + "/away", "http://127.0.0.1:1/sums", "http://nowhere.invalid/sums"} {
		_, _, err := r.Digest(t.Context(), path+"?signature=canary", "http://images.example/os.raw")
		if f := fault.From(err); err == nil || strings.Contains(fmt.Sprint(err, f.Hint, f.Cause), "canary") {
			t.Errorf("%s: %v, cause %v", path, err, f.Cause)
		}
	}
}

// What was asked for by https is not taken by http.
func TestChecksumsStayWithHTTPS(t *testing.T) {
	at, r := files(t)
	for to, taken := range map[string]bool{at + "/sums": false, "/sums": true} {
		h := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/sums" {
				_, _ = w.Write([]byte(a64))
				return
			}
			http.Redirect(w, q, to, http.StatusFound)
		}))
		r.transport.TLSClientConfig = h.Client().Transport.(*http.Transport).TLSClientConfig
		_, digest, err := r.Digest(t.Context(), h.URL+"/moved", "http://images.example/os.raw")
		if taken != (err == nil) || taken != (digest == a64) || !taken && !fault.Has(err, fault.ImageUnreachable) {
			t.Errorf("to %s: %s, %v", to, digest, err)
		}
		r.transport.CloseIdleConnections()
		h.Close()
	}
}
