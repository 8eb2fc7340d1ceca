package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/bessemer-metal/bessemer/initramfs/media"
	"github.com/bessemer-metal/bessemer/integration/fleet"
	"github.com/bessemer-metal/bessemer/integration/servers"
	"github.com/bessemer-metal/bessemer/server/client"
	"github.com/bessemer-metal/bessemer/shared/api"
)

// rack is a server process under load, with a data directory and a fleet's socket of its own.
type rack struct {
	dir     string
	program string
	ports   []int // API, agents, boot
	alone   bool  // no program plays the machines: they are in the server's memory
	api     *client.Client
	running *servers.Child
}

// newRack builds the server and makes its directory; nothing runs yet.
func newRack(ctx context.Context, root string) (*rack, error) {
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return nil, err
	}
	r := &rack{dir: dir}
	if r.program, err = servers.Build(ctx, root, dir); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if err := media.RegionISO(r.iso(), make([]byte, api.RegionSize)); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.ports, err = servers.FreePorts(3); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.api, err = client.New(client.Options{Server: r.url(), Timeout: 2 * time.Minute}); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rack) iso() string { return filepath.Join(r.dir, "base.iso") }
func (r *rack) socket() string {
	if r.alone {
		return ""
	}
	return filepath.Join(r.dir, "play", "machines")
}
func (r *rack) url() string { return fmt.Sprintf("http://127.0.0.1:%d", r.ports[0]) }

// start starts the server and tells how long its first answer took.
func (r *rack) start(ctx context.Context) (time.Duration, error) {
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", r.ports[i]) }
	var said bytes.Buffer
	began := time.Now()
	p, err := servers.Start(&said, nil, r.program, "serve", "--data-dir", filepath.Join(r.dir, "data"), "--listen", at(0), "--agent-listen", at(1),
		"--boot-listen", at(2), "--base-iso", r.iso(), "--fake-machines", r.socket(), "--log-level", "error")
	if err != nil {
		return 0, err
	}
	r.running = p
	ask := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		answer, err := ask.Get(r.url() + "/v1")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		select {
		case <-p.Ended():
			return 0, fmt.Errorf("the server ended: %s", said.String())
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// kill ends the server as a crash does.
func (r *rack) kill() error {
	p := r.running
	if r.running = nil; p == nil {
		return nil
	}
	return p.Kill()
}

func (r *rack) close() error {
	if r.api != nil {
		r.api.Close()
	}
	return errors.Join(r.kill(), os.RemoveAll(r.dir))
}

// cpu is the processor time that the server has used.
func (r *rack) cpu() (time.Duration, error) { return r.running.CPU() }

// files is how many files and sockets the server has open.
func (r *rack) files() (int, error) {
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.running.PID()))
	return len(all), err
}

var resident = regexp.MustCompile(`(?m)^(VmRSS|VmHWM):\s+(\d+) kB`)

// memory is what the server holds now and held at most, MB.
func (r *rack) memory() (now, most float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.running.PID()))
	if err != nil {
		return 0, 0, err
	}
	for _, m := range resident.FindAllStringSubmatch(string(text), -1) {
		kb, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return 0, 0, err
		}
		if m[1] == "VmRSS" {
			now = kb * 1024 / 1e6
		} else {
			most = kb * 1024 / 1e6
		}
	}
	return now, most, nil
}

// fleet makes machines for this server.
func (r *rack) fleet(o fleet.Options) (*fleet.Fleet, error) {
	o.API, o.Socket, o.Log = r.api, r.socket(), quiet
	return fleet.New(o)
}
