package boot

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/initramfs/media/mediatest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// program is a base program of noise with an empty region in its initramfs.
func program(t *testing.T) (file string, data []byte, region int) {
	t.Helper()
	noise := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{2}).Read(noise)
	data = mediatest.Program(noise, length)
	file = filepath.Join(t.TempDir(), "base.efi")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	off, n, err := media.FindRegion(bytes.NewReader(data))
	if err != nil || n != length {
		t.Fatalf("a region of %d bytes, %v", n, err)
	}
	return file, data, int(off)
}

var loads atomic.Int64 // that were not for the length alone

func (o one) Program(ctx context.Context, token string, from netip.Addr, load bool) (api.BootConfig, error) {
	if load {
		loads.Add(1)
	}
	return o.Medium(ctx, token, from)
}

// Firmware asks for the length, then for the whole: it gets the base program, with the configuration of its boot in the ramdisk and
// nowhere else (T11).
func TestT11_AProgramCarriesItsConfigurationInTheRamdisk(t *testing.T) {
	file, data, region := program(t)
	var log bytes.Buffer
	h := ProgramHandler(file, one{}, slog.New(slog.NewTextHandler(&log, nil)))
	url := ProgramURL("https://host:6388/", tokenA)
	where := strings.TrimPrefix(url, "https://host:6388")
	if !strings.HasSuffix(url, ".efi") || strings.Contains(path.Base(url), tokenA) {
		t.Errorf("the address is %s", url)
	}
	before := loads.Load()
	head := ask(h, "HEAD", where, bmc, "")
	if head.Code != 200 || head.Header().Get("Content-Length") != fmt.Sprint(len(data)) || head.Header().Get("Content-Type") != "application/efi" || head.Body.Len() != 0 {
		t.Fatalf("HEAD: %d %v", head.Code, head.Header())
	}
	if loads.Load() != before {
		t.Error("to ask for the length is to load")
	}
	get := ask(h, "GET", where, bmc, "")
	if n := loads.Load() - before; n != 1 {
		t.Errorf("it was loaded %d times", n)
	}
	body := get.Body.Bytes()
	if get.Code != 200 || len(body) != len(data) || !bytes.Equal(body[:region], data[:region]) || !bytes.Equal(body[region+length:], data[region+length:]) {
		t.Fatalf("GET: %d, %d bytes, or they differ from the base outside the region", get.Code, len(body))
	}
	c, err := api.DecodeBootConfig(body[region : region+length])
	if err != nil || c.Secret != config(9).Secret {
		t.Errorf("region: %v, %v", c, err)
	}
	if bytes.Count(body, []byte(c.Secret)) != 1 || strings.Contains(fmt.Sprint(get.Header(), log.String()), c.Secret) || get.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the secret shows elsewhere, or may be kept: %v", get.Header())
	}
	for name, wrong := range map[string]string{
		"a medium's name": URL("", tokenA), "the old name": Path + tokenA + "/bessemer.iso", "another token": Path + "other/" + path.Base(url),
	} {
		if w := ask(h, "GET", wrong, bmc, ""); w.Code != 404 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if err := os.WriteFile(file, []byte("MZ, and nothing else"), 0o644); err != nil {
		t.Fatal(err)
	}
	if w := ask(h, "GET", where, bmc, ""); w.Code != 503 || !strings.Contains(log.String(), "bessemer ramdisk build") {
		t.Errorf("a base that is none: %d, %s", w.Code, log.String())
	}
}

// The ISO's handler serves no programs.
func TestAMediumsHandlerKnowsItsOwnNames(t *testing.T) {
	h, _, _ := serve(t, one{})
	if w := ask(h, "GET", ProgramURL("", tokenA), bmc, ""); w.Code != 404 {
		t.Errorf("%d", w.Code)
	}
}
