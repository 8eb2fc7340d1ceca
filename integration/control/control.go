// Package control is a client of the emulator's control API, for programs and tests that run beside an emulator rather
// than in its process. Start reading at Client.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/bessemer-metal/bessemer/integration/bmc"
	"github.com/bessemer-metal/bessemer/integration/faults"
	"github.com/bessemer-metal/bessemer/integration/qemu"
)

// Client speaks to one emulator.
type Client struct {
	URL  string // of the control listener
	HTTP *http.Client
}

// Machines tells of all machines.
func (c Client) Machines(ctx context.Context) (l []bmc.State, err error) {
	return l, c.do(ctx, http.MethodGet, "", nil, &l)
}

// Machine tells of one.
func (c Client) Machine(ctx context.Context, name string) (s bmc.State, err error) {
	return s, c.do(ctx, http.MethodGet, "/"+url.PathEscape(name), nil, &s)
}

// PowerLog returns a machine's changes of power.
func (c Client) PowerLog(ctx context.Context, name string) (l []bmc.PowerEvent, err error) {
	return l, c.do(ctx, http.MethodGet, "/"+url.PathEscape(name)+"/power-log", nil, &l)
}

// Inject adds a fault and returns it with its id.
func (c Client) Inject(ctx context.Context, name string, f faults.Fault) (made faults.Fault, err error) {
	return made, c.do(ctx, http.MethodPost, "/"+url.PathEscape(name)+"/faults", f, &made)
}

// Heal takes away all faults of a machine.
func (c Client) Heal(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/"+url.PathEscape(name)+"/faults", nil, nil)
}

// AttachDisk gives a machine that is off a further disk.
func (c Client) AttachDisk(ctx context.Context, name string, d qemu.Disk) error {
	return c.do(ctx, http.MethodPost, "/"+url.PathEscape(name)+"/disks", d, nil)
}

func (c Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("emulator control: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+"/control/v1/machines"+path, body)
	if err != nil {
		return fmt.Errorf("emulator control: %w", err)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("emulator control: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		var e struct{ Error string }
		if json.NewDecoder(res.Body).Decode(&e) != nil {
			e.Error = res.Status
		}
		return fmt.Errorf("emulator control: %s %s: %s", method, path, e.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("emulator control: %s %s: %w", method, path, err)
	}
	return nil
}
