package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/catalog"
	"github.com/bessemer-metal/bessemer/shared/fault"
	"go.uber.org/goleak"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func store(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, 1<<20, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s *Store, name, content string) Image {
	t.Helper()
	img, err := s.Put(t.Context(), name, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func files(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, %v; want 0600", d.Name(), info.Mode(), err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStoredImageIsDescribedAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	s := store(t, dir)
	content := strings.Repeat("disk", 1000)
	got, err := s.Put(t.Context(), "debian-12.raw", iotest.OneByteReader(strings.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	short, long := sha256.Sum256([]byte(content)), sha512.Sum512([]byte(content))
	want := Image{"debian-12.raw", catalog.Raw, 4000, hex.EncodeToString(short[:]), hex.EncodeToString(long[:]), noon}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = store(t, dir)
	if got, err := s.Get(want.Name); err != nil || got != want {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
	_, f, err := s.OpenImage(want.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != content {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if n := files(t, dir); n != 2 {
		t.Errorf("%d files, want the content and its name", n)
	}
}

func TestReplaceAndDelete(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	put(t, s, "b", "one")
	put(t, s, "a", "one") // the same content under two names is kept once
	_, old, err := s.OpenImage("b")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	put(t, s, "b", "two")
	if b, err := io.ReadAll(old); err != nil || string(b) != "one" {
		t.Errorf("who reads the replaced image gets %q, %v", b, err)
	}
	if n := files(t, dir); n != 4 {
		t.Errorf("%d files, want two names and two contents", n)
	}
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].Name != "a" || all[1].Name != "b" || all[0].SHA256 == all[1].SHA256 {
		t.Errorf("list %+v, %v", all, err)
	}
	for _, name := range []string{"a", "b"} {
		if err := s.Delete(name); err != nil {
			t.Error(err)
		}
		if err := s.Delete(name); !fault.Has(err, fault.ImageNotFound) {
			t.Errorf("deleted again: %v", err)
		}
		if _, err := s.Get(name); !fault.Has(err, fault.ImageNotFound) {
			t.Errorf("got a deleted one: %v", err)
		}
	}
	if n := files(t, dir); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestRefusedUploadsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		r    io.Reader
		want fault.Reason
	}{
		"empty":           {t.Context(), strings.NewReader(""), fault.ImageSize},
		"too large":       {t.Context(), io.LimitReader(zeros{}, 1<<20+1), fault.RequestTooLarge},
		"broken at once":  {t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF), fault.RequestInvalid},
		"broken":          {t.Context(), io.MultiReader(strings.NewReader("half of it"), iotest.ErrReader(io.ErrUnexpectedEOF)), fault.RequestInvalid},
		"vmdk":            {t.Context(), strings.NewReader("KDMV\x01\x00\x00\x00"), fault.ImageFormat},
		"context is over": {ended, strings.NewReader("x"), ""},
	} {
		_, err := s.Put(c.ctx, "img", c.r)
		if c.want == "" {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want the context's error", name, err)
			}
		} else if !fault.Has(err, c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if n := files(t, dir); n != 0 {
			t.Errorf("%s: %d files are left", name, n)
		}
	}
	for head, want := range map[string]string{"\x28\xb5\x2f\xfd\x00": catalog.RawZstd, "\x5e\x2a\x4d\x18\x00": catalog.RawZstd, "\x1f\x8b\x08": catalog.RawGzip, "\xfd7zXZ\x00": catalog.RawXZ, "QFI\xfb\x00\x00\x00\x03": catalog.QCOW2, "x": catalog.Raw} {
		if i, err := s.Put(t.Context(), "img", strings.NewReader(head)); err != nil || i.Format != want {
			t.Errorf("%q: %+v, %v", head, i, err)
		}
	}
	if _, err := s.Put(t.Context(), "edge", io.LimitReader(zeros{}, 1<<20)); err != nil {
		t.Errorf("exactly at the bound: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestF05_DiskErrorIsToldAsSuch(t *testing.T) {
	s := store(t, t.TempDir())
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("this system has no /dev/full: %v", err)
	}
	defer full.Close()
	_, err = s.receive(t.Context(), full, "img", strings.NewReader(strings.Repeat("x", 100)))
	if !fault.Has(err, fault.StorageUnavailable) || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v, want storage.unavailable with the cause", err)
	}
}

func TestUploadCutShortIsSwept(t *testing.T) {
	dir := t.TempDir()
	s := store(t, dir)
	put(t, s, "kept", "content")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"tmp/HALF", "data/0123"} { // a crash while receiving, and between content and name
		if err := os.WriteFile(filepath.Join(dir, left), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = store(t, dir)
	if n := files(t, dir); n != 2 {
		t.Errorf("%d files, want 2", n)
	}
	if _, err := s.Get("kept"); err != nil {
		t.Error(err)
	}
}

func TestT12_I21_NamesKeepToTheGrammar(t *testing.T) {
	dir := t.TempDir()
	s := store(t, filepath.Join(dir, "images"))
	if err := os.WriteFile(filepath.Join(dir, "outside.json"), []byte(`{"name":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", ".", "..", ".hidden", "-rf", "a/b", "../outside", "../../outside", "a\x00", "a\nb", "ä", "a b", "a%2fb", `a\b`, "$(id)", strings.Repeat("x", 129)} {
		_, putErr := s.Put(t.Context(), bad, strings.NewReader("x"))
		_, getErr := s.Get(bad)
		_, _, openErr := s.OpenImage(bad)
		for what, err := range map[string]error{"Put": putErr, "Get": getErr, "OpenImage": openErr, "Delete": s.Delete(bad)} {
			if !fault.Has(err, fault.RequestInvalid) {
				t.Errorf("%s %q: %v, want a refusal", what, bad, err)
			}
		}
	}
	put(t, s, strings.Repeat("x", 128), "x")
	put(t, s, "Debian_12.1-a.raw.json", "x")
	// A link put into the store leads nowhere.
	if err := os.Symlink(filepath.Join(dir, "outside.json"), filepath.Join(dir, "images", "names", "link.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("link"); err == nil {
		t.Error("read through a link")
	}
}

func TestConcurrentUploadsOfOneName(t *testing.T) {
	s := store(t, t.TempDir())
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			content := fmt.Sprintf("content %d", n%3)
			if _, err := s.Put(t.Context(), "img", strings.NewReader(content)); err != nil {
				t.Error(err)
			}
			img, f, err := s.OpenImage("img")
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			h := sha256.New()
			if _, err := io.Copy(h, f); err != nil || hex.EncodeToString(h.Sum(nil)) != img.SHA256 {
				t.Errorf("content and name do not fit (%v)", err)
			}
		})
	}
	wg.Wait()
}

func TestHandler(t *testing.T) {
	s := store(t, t.TempDir())
	img := put(t, s, "img.raw", "0123456789")
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	etag := `"` + img.SHA256 + `"`
	for name, c := range map[string]struct {
		method, path string
		header       map[string]string
		status       int
		body         string
		want         map[string]string
	}{
		"whole":            {"GET", "/images/img.raw", nil, 200, "0123456789", map[string]string{"ETag": etag, "Content-Length": "10", "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}},
		"head":             {"HEAD", "/images/img.raw", nil, 200, "", map[string]string{"ETag": etag, "Content-Length": "10"}},
		"range":            {"GET", "/images/img.raw", map[string]string{"Range": "bytes=2-4"}, 206, "234", map[string]string{"Content-Range": "bytes 2-4/10", "ETag": etag}},
		"tail":             {"GET", "/images/img.raw", map[string]string{"Range": "bytes=-3"}, 206, "789", nil},
		"resume, same":     {"GET", "/images/img.raw", map[string]string{"Range": "bytes=8-", "If-Range": etag}, 206, "89", nil},
		"resume, changed":  {"GET", "/images/img.raw", map[string]string{"Range": "bytes=8-", "If-Range": `"other"`}, 200, "0123456789", nil},
		"beyond the end":   {"GET", "/images/img.raw", map[string]string{"Range": "bytes=10-"}, 416, "invalid range: failed to overlap\n", nil},
		"known already":    {"GET", "/images/img.raw", map[string]string{"If-None-Match": etag}, 304, "", nil},
		"unknown":          {"GET", "/images/none", nil, 404, "there is no image \"none\"\n", nil},
		"no list":          {"GET", "/images/", nil, 400, "image name \"\" is not allowed\n", nil},
		"elsewhere":        {"GET", "/other/img.raw", nil, 404, "404 page not found\n", nil},
		"encoded slash":    {"GET", "/images/..%2fnames%2fimg.raw.json", nil, 400, "image name \"../names/img.raw.json\" is not allowed\n", nil},
		"written":          {"PUT", "/images/img.raw", nil, 405, "images are only read here\n", map[string]string{"Allow": "GET, HEAD"}},
		"metadata unnamed": {"GET", "/images/img.raw.json", nil, 404, "there is no image \"img.raw.json\"\n", nil},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, srv.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			req.Header.Set(k, v)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != c.status || !bytes.Equal(body, []byte(c.body)) {
			t.Errorf("%s: %d %q, want %d %q", name, res.StatusCode, body, c.status, c.body)
		}
		for k, v := range c.want {
			if res.Header.Get(k) != v {
				t.Errorf("%s: %s is %q, want %q", name, k, res.Header.Get(k), v)
			}
		}
	}
}
