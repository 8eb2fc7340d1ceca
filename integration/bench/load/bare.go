package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	agentchannel "github.com/bessemer-metal/bessemer/agent/channel"
	"github.com/bessemer-metal/bessemer/integration/servers"
	"github.com/bessemer-metal/bessemer/server/channel"
	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// bareBeats is the CPU, in ms, of a heartbeat that is only read, decoded and answered: what TLS and net/http cost, in
// a process of its own. The connections are fewer than the agents; each costs nothing while it is not used.
func bareBeats(ctx context.Context) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "bare")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	server, err := startBare(ctx, self, dir)
	if err != nil {
		return 0, err
	}
	defer server.Kill() //nolint:errcheck // it holds nothing
	key, err := agentchannel.NewKey()
	if err != nil {
		return 0, err
	}
	const conns = 200
	clients := make([]*http.Client, conns)
	for i := range clients {
		t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.roots, ServerName: api.ServerName, Certificates: []tls.Certificate{key}}, MaxConnsPerHost: 1}
		defer t.CloseIdleConnections()
		clients[i] = &http.Client{Transport: t, Timeout: time.Minute}
	}
	body, err := json.Marshal(api.HeartbeatRequest{Seq: 1 << 20, Running: "6b1c0e5e-0000-4000-8000-000000000001", Progress: &step.Progress{Percent: 5, Item: "deploy.erase_devices_metadata"}})
	if err != nil {
		return 0, err
	}
	token := "Bearer " + string(bytes.Repeat([]byte("x"), 520)) // as long as a node's
	least := 0.0
	for range beatRuns {
		before, err := server.CPU()
		if err != nil {
			return 0, err
		}
		sent, err := fire(ctx, beatRate, beatTime/3, func(n int) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.url, bytes.NewReader(body))
			if err != nil {
				return err
			}
			r.Header.Set("Authorization", token)
			r.Header.Set("Content-Type", "application/json")
			answer, err := clients[n%conns].Do(r)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			_, err = io.Copy(io.Discard, answer.Body)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("the bare handler: %w", err)
		}
		after, err := server.CPU()
		if err != nil {
			return 0, err
		}
		if c := (after - before).Seconds() * 1000 / float64(sent); least == 0 || c < least {
			least = c
		}
	}
	return least, nil
}

// fire calls act at a fixed rate for a time; the first error is returned once all have ended.
func fire(ctx context.Context, rate float64, lasting time.Duration, act func(n int) error) (int, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	began := time.Now()
	n := 0
	for ; ctx.Err() == nil; n++ {
		after := time.Duration(float64(n) / rate * float64(time.Second))
		if after >= lasting {
			break
		}
		if wait := time.Until(began.Add(after)); wait > 0 {
			time.Sleep(max(wait, time.Millisecond))
		}
		number := n
		wg.Go(func() {
			if err := act(number); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = err
				}
			}
		})
	}
	wg.Wait()
	return n, first
}

// ServeBare is the other process: bench -bare DIR. It writes its address and certificate into DIR.
func ServeBare(ctx context.Context, dir string) error {
	id, err := channel.LoadIdentity(dir, time.Now())
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{TLSConfig: id.TLS(), ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q api.HeartbeatRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, api.MaxBody)).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}") //nolint:errcheck // the client counts answers
	})}
	context.AfterFunc(ctx, func() { srv.Close() }) //nolint:errcheck // it ends with the process
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(ln.Addr().String()), 0o600); err != nil {
		return err
	}
	return srv.ServeTLS(ln, "", "")
}

// bareInserts is the CPU, in ms, of one durable insert of so many bytes, sixteen callers at a time.
func bareInserts(ctx context.Context, size int) (float64, error) {
	dir, err := os.MkdirTemp("", "bare")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	keys, err := seal.Open(filepath.Join(dir, "key"), true)
	if err != nil {
		return 0, err
	}
	store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "db"), Sealer: keys, Log: quiet, Now: time.Now})
	if err != nil {
		return 0, err
	}
	defer store.Close()
	value := string(bytes.Repeat([]byte("x"), size))
	const rows, callers = 2000, 16
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	errs := make(chan error, callers)
	for c := range callers {
		wg.Go(func() {
			for i := range rows / callers {
				err := store.Update(ctx, func(tx conductor.Tx) error { return tx.PutSetting(fmt.Sprintf("%d %d", c, i), value) })
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		return 0, err
	}
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	return float64(used) / 1e6 / rows, nil
}

// bare is the running process.
type bare struct {
	*servers.Child
	url   string
	roots *x509.CertPool
}

// startBare starts this program as ServeBare, and waits until it listens.
func startBare(ctx context.Context, self, dir string) (*bare, error) {
	if _, err := channel.LoadIdentity(dir, time.Now()); err != nil {
		return nil, err
	}
	b := &bare{roots: x509.NewCertPool()}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("the bare handler's certificate: %q, %w", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return nil, err
	}
	b.roots.AppendCertsFromPEM(text)
	var said bytes.Buffer
	if b.Child, err = servers.Start(&said, nil, self, "-bare", dir); err != nil {
		return nil, err
	}
	err = until(ctx, 10*time.Second, func() bool {
		address, err := os.ReadFile(filepath.Join(dir, "address"))
		b.url = "https://" + string(address) + "/"
		return err == nil && len(address) > 0
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the bare handler does not listen: %s", said.String()), b.Kill())
	}
	return b, nil
}
