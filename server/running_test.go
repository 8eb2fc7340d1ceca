package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/config"
	"github.com/bessemer-metal/bessemer/server/seal"
	"github.com/bessemer-metal/bessemer/server/sqlite"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
)

// settings are those of a server on free ports of loopback, with a data directory that is not there yet.
func settings(t *testing.T) config.Server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	return config.Server{
		DataDir: dir, Listen: "127.0.0.1:0", AgentListen: "127.0.0.1:0", BootListen: "127.0.0.1:0", Auth: "none",
		Users: filepath.Join(dir, "users"), BaseISO: filepath.Join(dir, "ramdisk", "bessemer.iso"), LogLevel: "debug", AddressConns: 16,
		AllowOrigins: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
}

// journal is a server's log, of which a line may be waited for.
type journal struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed and made anew at each write
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	close(j.written)
	j.written = make(chan struct{})
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// running is a server under test.
type running struct {
	*journal
	url   string // of the API
	stop  func() error
	ended chan struct{} // closed when serve has returned
	seen  bytes.Buffer  // every answer it gave
}

var serving = regexp.MustCompile(`msg=serving api=(\S+)`)

// start runs a server until the test or stop ends it; stop gives what serve returned.
func start(t *testing.T, cfg config.Server) *running {
	t.Helper()
	r := &running{journal: &journal{written: make(chan struct{})}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	r.ended = ended
	var err error
	go func() {
		defer close(ended)
		err = serve(ctx, cfg, r.journal, time.Now)
	}()
	r.stop = func() error {
		cancel()
		<-ended
		return err
	}
	t.Cleanup(func() { r.stop() })
	late := time.After(2 * time.Minute)
	for {
		r.mu.Lock()
		written := r.written
		r.mu.Unlock()
		if m := serving.FindStringSubmatch(r.String()); m != nil {
			r.url = m[1]
			return r
		}
		select {
		case <-written:
		case <-ended:
			t.Fatalf("the server did not start: %v\n%s", err, r)
		case <-late:
			t.Fatalf("the server did not start in time:\n%s", r)
		}
	}
}

// refused gives the error of a server that is not to start.
func refused(t *testing.T, cfg config.Server) error {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("it started"))
	defer cancel()
	return serve(ctx, cfg, io.Discard, time.Now)
}

// ask makes a request and gives status and body of the answer.
func (r *running) ask(t *testing.T, method, path string, body any, change ...func(*http.Request)) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-OpenStack-Ironic-API-Version", "1.81")
	for _, c := range change {
		c(req)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&r.seen, "%s %s\n%v\n%s\n", method, path, resp.Header, answer)
	return resp.StatusCode, string(answer)
}

// must is ask where the answer has to be a good one.
func (r *running) must(t *testing.T, method, path string, body any) string {
	t.Helper()
	status, text := r.ask(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// provision asks for a verb and waits until the node rests in a state again.
func (r *running) provision(t *testing.T, node, target string) api.StepsAnswer {
	t.Helper()
	r.must(t, "PUT", "/v1/nodes/"+node+"/states/provision", map[string]any{"target": target})
	again, late := time.NewTicker(10*time.Millisecond), time.After(2*time.Minute)
	defer again.Stop()
	for {
		var n api.StepsAnswer
		text := r.must(t, "GET", "/v1/nodes/"+node+"/steps", nil)
		if err := json.Unmarshal([]byte(text), &n); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if _, going := state.FlowOf(n.State); !going && (n.Run == nil || !n.Run.Ended.IsZero()) {
			return n
		}
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("%s of node %s did not end: %s\n%s", target, node, text, r)
		}
	}
}

// bmc answers every request but that for the service root with a status, and repeats in the answer all that it was told.
// It shows the certificate of dir, which is made when there is none.
func bmc(t *testing.T, addr, dir string, status int) (base string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, "bmc.crt"), filepath.Join(dir, "bmc.key")
	if err := selfSigned(certFile, keyFile, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: ln, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, Config: &http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.TrimSuffix(r.URL.Path, "/") == "/redfish/v1" {
				io.WriteString(w, `{"@odata.id": "/redfish/v1", "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "Id": "Root", "Name": "Root", "RedfishVersion": "1.6.0",
					"Systems": {"@odata.id": "/redfish/v1/Systems"}, "Links": {"Sessions": {"@odata.id": "/redfish/v1/SessionService/Sessions"}}}`)
				return
			}
			body, _ := io.ReadAll(r.Body)
			told := fmt.Sprintf("refused %s %s %s %v", r.Method, r.URL, body, r.Header)
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "Base.1.0.GeneralError", "message": told,
				"@Message.ExtendedInfo": []any{map[string]any{"MessageId": "Base.1.0.GeneralError", "Message": told}}}})
		})}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, srv.Close
}

// inside looks into the data directory of a server that does not run.
func inside(t *testing.T, cfg config.Server, look func(tx conductor.Tx) error) {
	t.Helper()
	keys, err := seal.Open(filepath.Join(cfg.DataDir, "master.key"), false)
	if err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(cfg.DataDir, "bessemer.db"), Sealer: keys, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.View(t.Context(), look), store.Close()); err != nil {
		t.Fatal(err)
	}
}
