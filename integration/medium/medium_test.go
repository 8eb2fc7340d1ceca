package medium

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func image(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func content(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "cd.iso", time.Time{}, bytes.NewReader(b))
	}
}

func TestRemoteReadsByRange(t *testing.T) {
	want := image(3*blockSize + 1000)
	var whole atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && r.Header.Get("Range") == "" {
			whole.Add(1)
		}
		content(want)(w, r)
	})
	r, err := Open(t.Context(), s.Client(), s.URL+"/cd.iso")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %d bytes, equal %v, %v", len(got), bytes.Equal(got, want), err)
	}
	if whole.Load() > 0 || r.Requests() != 5 { // HEAD and four blocks
		t.Errorf("%d requests, %d of them for the whole image", r.Requests(), whole.Load())
	}
	if _, err := r.ReadAt(make([]byte, 10), r.Size()-5); err != io.EOF {
		t.Errorf("read over the end: got %v, want EOF", err)
	}
}

func TestOpenSaysWhatTheServerDid(t *testing.T) {
	for want, h := range map[string]http.HandlerFunc{
		"404 Not Found": http.NotFound,
		"206 expected": func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 1000)) // no ranges
		},
		"no Content-Length": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); w.(http.Flusher).Flush() },
		"unexpected EOF": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "4000")
			w.WriteHeader(map[string]int{"HEAD": 200, "GET": 206}[r.Method])
			io.WriteString(w, "short")
		},
	} {
		s := serve(t, h)
		if _, err := Open(t.Context(), s.Client(), s.URL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	client := &http.Client{}
	if _, err := Open(t.Context(), client, "ftp://host/cd.iso"); err == nil {
		t.Error("ftp was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, client, "http://u:secret@127.0.0.1:1/x"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

func TestImageThatChangesIsRefused(t *testing.T) {
	var tag atomic.Value
	tag.Store(`"one"`)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag.Load().(string))
		content(image(2*blockSize))(w, r)
	})
	r, err := Open(t.Context(), s.Client(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	tag.Store(`"two"`)
	if _, err := r.ReadAt(make([]byte, 10), blockSize); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v", err)
	}
}

// An independent client reads the export: qemu-img, where it is installed, else the test names what is missing.
func TestExportServesQEMU(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Fatalf("qemu-img is needed; `make setup` installs it: %v", err)
	}
	want := image(5*blockSize + 512)
	s := serve(t, content(want))
	r, err := Open(t.Context(), s.Client(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sock := filepath.Join(dir, "nbd")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	e := NewExport(ln, r, slog.New(slog.DiscardHandler))
	defer e.Close()
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, want, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "compare", "-f", "raw", "-F", "raw", raw, "nbd+unix:///?socket="+sock).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "identical") {
		t.Errorf("qemu-img compare: %v\n%s", err, out)
	}
	// A write is refused, and the connection stays in order.
	if out, err := exec.CommandContext(t.Context(), tool, "convert", "-n", "-f", "raw", "-O", "raw", raw, "nbd+unix:///?socket="+sock).CombinedOutput(); err == nil {
		t.Errorf("a write was accepted:\n%s", out)
	}
}

func TestExportReportsServerErrors(t *testing.T) {
	var broken atomic.Bool
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "gone", http.StatusGone)
			return
		}
		content(image(4*blockSize))(w, r)
	})
	r, err := Open(t.Context(), s.Client(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(t.TempDir(), "nbd")
	ln, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	e := NewExport(ln, r, slog.New(slog.NewTextHandler(&log, nil)))
	broken.Store(true)
	out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-f", "raw", "-O", "raw", "nbd+unix:///?socket="+sock, filepath.Join(t.TempDir(), "out")).CombinedOutput()
	e.Close()
	if err == nil || !strings.Contains(log.String(), "410 Gone") {
		t.Errorf("qemu-img: %v\n%s\nlog: %s", err, out, log.String())
	}
}
