package boot

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

const (
	tokenA = "token-of-a"
	at     = 24 * 2048
	length = 8192
	size   = 300_000 / 2048 * 2048
)

// base is a medium of noise with a volume descriptor and an empty region.
func base(t testing.TB) (file string, data []byte) {
	t.Helper()
	data = make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(data)
	pvd := data[16*2048:]
	pvd[0] = 1
	copy(pvd[1:], "CD001")
	pvd[80], pvd[81], pvd[82], pvd[83] = byte(size/2048), byte(size/2048>>8), 0, 0
	copy(data[api.RegionRecordAt:], api.RegionRecord(at, length))
	clear(data[at : at+length])
	file = filepath.Join(t.TempDir(), "base.iso")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file, data
}

func config(fill byte) api.BootConfig {
	return api.BootConfig{Version: 1, Server: "https://192.0.2.1:6386", Node: "n", Generation: 4,
		Pins:   []string{base64.StdEncoding.EncodeToString(make([]byte, 32))},
		Secret: base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))}
}

// one serves one boot to one address.
type one struct{ err error }

func (o one) Medium(_ context.Context, token string, from netip.Addr) (api.BootConfig, error) {
	switch {
	case o.err != nil:
		return api.BootConfig{}, o.err
	case token != tokenA:
		return api.BootConfig{}, fault.New(fault.NodeNotFound, "no boot has this token")
	case from != netip.MustParseAddr("192.0.2.7"):
		return api.BootConfig{}, fault.New(fault.ChannelSource, "not this address")
	}
	return config(9), nil
}

func ask(h http.Handler, method, path, from, ranges string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = from
	if ranges != "" {
		r.Header.Set("Range", ranges)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const bmc = "192.0.2.7:40000"

func serve(t *testing.T, m Media) (http.Handler, []byte, *bytes.Buffer) {
	t.Helper()
	file, data := base(t)
	var log bytes.Buffer
	return Handler(file, m, slog.New(slog.NewTextHandler(&log, nil))), data, &log
}

func TestMediumIsTheBaseButForItsRegion(t *testing.T) {
	h, data, _ := serve(t, one{})
	path := strings.TrimPrefix(URL("http://host:6387/", tokenA), "http://host:6387")
	head := ask(h, "HEAD", path, bmc, "")
	if head.Code != 200 || head.Header().Get("Content-Length") != fmt.Sprint(size) || head.Header().Get("Accept-Ranges") != "bytes" || head.Body.Len() != 0 {
		t.Fatalf("HEAD: %d %v", head.Code, head.Header())
	}
	get := ask(h, "GET", path, bmc, "")
	body := get.Body.Bytes()
	if get.Code != 200 || len(body) != size {
		t.Fatalf("GET: %d, %d bytes", get.Code, len(body))
	}
	if !bytes.Equal(body[:at], data[:at]) || !bytes.Equal(body[at+length:], data[at+length:]) {
		t.Error("bytes outside the region differ from the base")
	}
	c, err := api.ReadBootConfig(bytes.NewReader(body))
	if err != nil || c.Secret != config(9).Secret {
		t.Errorf("region: %v, %v", c, err)
	}
	if get.Header().Get("Cache-Control") != "no-store" {
		t.Error("a proxy may keep the medium")
	}
	// Every kind of range: before, across both edges, inside, behind, odd lengths, the last bytes.
	for _, r := range [][2]int{{0, 1}, {at - 7, 20}, {at - 1, 1}, {at, 1}, {at + 100, 555}, {at + length - 3, 9}, {at - 5, length + 10}, {at + length, 2048}, {size - 5, 5}} {
		w := ask(h, "GET", path, bmc, fmt.Sprintf("bytes=%d-%d", r[0], r[0]+r[1]-1))
		if w.Code != 206 || !bytes.Equal(w.Body.Bytes(), body[r[0]:r[0]+r[1]]) {
			t.Errorf("range %v: status %d, %d bytes, or they differ from those of the whole", r, w.Code, w.Body.Len())
		}
	}
	if w := ask(h, "GET", path, bmc, fmt.Sprintf("bytes=%d-", size)); w.Code != 416 {
		t.Errorf("range behind the end: %d", w.Code)
	}
}

func TestT11_SecretIsOnlyInTheRegion(t *testing.T) {
	h, _, log := serve(t, one{})
	path := Path + tokenA + "/bessemer.iso"
	w := ask(h, "GET", path, bmc, "")
	secret := []byte(config(9).Secret)
	body := w.Body.Bytes()
	if bytes.Count(body, secret) != 1 || !bytes.Contains(body[at:at+length], secret) {
		t.Error("the secret is not in the region, once")
	}
	if s := fmt.Sprint(w.Header(), log); strings.Contains(s, string(secret)) {
		t.Errorf("the secret shows in headers or log: %s", s)
	}
}

func TestRefusalsLookAlike(t *testing.T) {
	h, _, log := serve(t, one{})
	var first string
	for name, c := range map[string][2]string{
		"unknown token":  {Path + "other/bessemer.iso", bmc},
		"wrong address":  {Path + tokenA + "/bessemer.iso", "192.0.2.8:1"},
		"other file":     {Path + tokenA + "/sbom.json", bmc},
		"no token":       {Path + "bessemer.iso", bmc},
		"empty token":    {Path + "/bessemer.iso", bmc},
		"deeper":         {Path + tokenA + "/x/bessemer.iso", bmc},
		"huge token":     {Path + strings.Repeat("a", 300) + "/bessemer.iso", bmc},
		"elsewhere":      {"/etc/passwd", bmc},
		"no peer at all": {Path + tokenA + "/bessemer.iso", ""},
	} {
		w := ask(h, "GET", c[0], c[1], "")
		got := fmt.Sprint(w.Code, w.Header(), w.Body)
		if first == "" {
			first = got
		}
		if w.Code != 404 || got != first {
			t.Errorf("%s: %s, expected %s", name, got, first)
		}
	}
	if strings.Contains(log.String(), tokenA) {
		t.Error("the log holds a token")
	}
	if w := ask(h, "POST", Path+tokenA+"/bessemer.iso", bmc, ""); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestTroubleHereIsUnavailableThere(t *testing.T) {
	h, _, log := serve(t, one{err: fault.New(fault.StorageUnavailable, "the store is gone")})
	if w := ask(h, "GET", Path+tokenA+"/bessemer.iso", bmc, ""); w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "store") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	if !strings.Contains(log.String(), "the store is gone") {
		t.Errorf("log: %s", log)
	}
	for name, spoil := range map[string]func(string) error{
		"missing":   os.Remove,
		"foreign":   func(f string) error { return os.WriteFile(f, make([]byte, 50_000), 0o644) },
		"truncated": func(f string) error { return os.Truncate(f, at+100) },
	} {
		file, _ := base(t)
		if err := spoil(file); err != nil {
			t.Fatal(err)
		}
		if w := ask(Handler(file, one{}, slog.New(slog.DiscardHandler)), "GET", Path+tokenA+"/bessemer.iso", bmc, ""); w.Code != 503 {
			t.Errorf("%s base: %d", name, w.Code)
		}
	}
}

// A BMC that goes on reading after the base was replaced must not get a mixture.
func TestNewBaseChangesTheValidator(t *testing.T) {
	file, _ := base(t)
	h := Handler(file, one{}, slog.New(slog.DiscardHandler))
	path := Path + tokenA + "/bessemer.iso"
	tag := ask(h, "HEAD", path, bmc, "").Header().Get("ETag")
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(file, later, later); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = bmc
	r.Header.Set("Range", "bytes=0-9")
	r.Header.Set("If-Range", tag)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if n, _ := io.Copy(io.Discard, w.Body); w.Code != 200 || n != size {
		t.Errorf("status %d, %d bytes; expected all of the new medium", w.Code, n)
	}
}
