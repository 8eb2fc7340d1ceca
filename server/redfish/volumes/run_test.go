package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

var (
	errGone = errors.New("not found")
	errBusy = fault.New(fault.BMCBusy, "busy")
)

// board is a machine in memory: its objects, by place, and what is done to it.
type board struct {
	objects map[string]string
	on      bool
	did     []string
	order   func(b *board, method, link string) (string, error)
	open    []string
	waits   bool
	task    func() (bool, float64, error)
}

func newBoard() *board {
	b := &board{on: true, objects: map[string]string{
		"/sys":       `{"Storage": {"@odata.id": "/stores"}}`,
		"/stores":    `["/s"]`,
		"/s":         `{"Id": "c", "Drives": [{"@odata.id": "/d/1"}, {"@odata.id": "/d/2"}], "Volumes": {"@odata.id": "/v"}}`,
		"/v":         `[]`,
		"/v?support": `{}`,
	}}
	for i := range 2 {
		b.objects[fmt.Sprintf("/d/%d", i+1)] = fmt.Sprintf(`{"Id": "%d", "CapacityBytes": 107374182400, "MediaType": "SSD", "Protocol": "SAS", "SerialNumber": "S%d"}`, i+1, i+1)
	}
	return b
}

// volume puts a mirror there.
func (b *board) volume(id, name string) {
	b.objects["/v/"+id] = fmt.Sprintf(`{"Id": %q, "Name": %q, "RAIDType": "RAID1", "CapacityBytes": 53687091200, "Links": {"Drives": [{"@odata.id": "/d/1"}, {"@odata.id": "/d/2"}]}}`, id, name)
	b.objects["/v"] = fmt.Sprintf(`["/v/%s"]`, id)
}

func (b *board) Read(link string, into any) error {
	if link == "/v" {
		link = "/v?support"
	}
	raw, ok := b.objects[link]
	if !ok {
		return errGone
	}
	return json.Unmarshal([]byte(raw), into)
}

func (b *board) Members(link string) (out []string, err error) {
	raw, ok := b.objects[link]
	if !ok {
		return nil, errGone
	}
	return out, json.Unmarshal([]byte(raw), &out)
}

func (b *board) Missing(err error) bool { return errors.Is(err, errGone) }

func (b *board) Order(method, link string, _ any) (string, error) {
	b.did = append(b.did, method+" "+link)
	return b.order(b, method, link)
}

func (b *board) Do(_ context.Context, do func(Service, string) error) error { return do(b, "/sys") }

func (b *board) Refusal(err error) Refusal {
	if errors.Is(err, errBusy) {
		return Busy
	}
	return Unknown
}

func (b *board) Passing(ctx context.Context, err error) bool {
	return ctx.Err() == nil && fault.From(err).Code.Retriable()
}

func (b *board) Task(context.Context, string) (bool, float64, error) { return b.task() }

func (b *board) Open(context.Context) ([]string, bool, error) { return b.open, b.waits, nil }

func (b *board) On(context.Context) (bool, error) { return b.on, nil }

func (b *board) SwitchOn(context.Context) error {
	b.did, b.on = append(b.did, "on"), true
	return nil
}

func (b *board) Restart(context.Context) error {
	b.did, b.open = append(b.did, "restart"), nil
	return nil
}

func (b *board) Restore(context.Context) error { return nil }

func (b *board) At(float64, string, ...any) {}

func mirror(t *testing.T, name string) Want {
	t.Helper()
	return Want{Disks: wanted(t, fmt.Sprintf(`{"raid_level": "1", "size_gb": 50, "volume_name": %q}`, name)), Root: true, NonRoot: true, Attempt: 1}
}

func made1(b *board, _, _ string) (string, error) {
	b.volume("1", "a")
	return "", nil
}

// An attempt that follows one that was cut off waits for what may be on its way, looks, and makes nothing a second time: not what
// is there under its name, nor what may be it under another.
func TestI08_F15_AnAttemptAfterACutLooksFirst(t *testing.T) {
	for name, c := range map[string]struct {
		named  string // what is there
		orders int
		reason fault.Reason
	}{
		"it was made":               {"a", 0, ""},
		"it was made and not named": {"Virtual Disk 1", 0, fault.StepInterrupted},
		"it was not":                {"", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				b.order = made1
				if c.named != "" {
					b.volume("1", c.named)
				}
				w := mirror(t, "a")
				w.Attempt = 2
				data, err := Run(t.Context(), b, w)
				if len(b.did) != c.orders || c.reason == "" && err != nil || c.reason != "" && !fault.Has(err, c.reason) {
					t.Errorf("%v, %v", b.did, err)
				}
				if c.reason == "" && data["created"] != float64(c.orders) {
					t.Errorf("it says %v", data)
				}
			})
		})
	}
}

// What waits in the queue for a restart gets one before anything else is asked for; what is at work is waited for.
func TestF24_WhatIsInTheQueueEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.order, b.open, b.waits = made1, []string{"JID_1 (Scheduled)"}, true
		if _, err := Run(t.Context(), b, mirror(t, "a")); err != nil || strings.Join(b.did, ", ") != "restart, POST /v" {
			t.Errorf("%v, %v", b.did, err)
		}
		b = newBoard()
		b.order, b.open = made1, []string{"JID_1 (Running)"}
		if _, err := Run(t.Context(), b, mirror(t, "a")); !fault.Has(err, fault.BMCTask) || len(b.did) > 0 {
			t.Errorf("%v, %v", b.did, err)
		}
	})
}

// A machine without power is switched on before its controllers are asked, also to find them.
func TestControllersNeedPower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.order, b.on = made1, false
		if _, err := Run(t.Context(), b, mirror(t, "a")); err != nil || strings.Join(b.did, ", ") != "on, POST /v" {
			t.Errorf("%v, %v", b.did, err)
		}
		b = newBoard()
		b.on, b.objects["/stores"] = false, `[]`
		if _, err := Run(t.Context(), b, Want{Delete: true, Attempt: 1}); !fault.Has(err, fault.BMCUnsupported) || strings.Join(b.did, ", ") != "on" {
			t.Errorf("%v, %v", b.did, err)
		}
		b.did = nil
		if _, err := Run(t.Context(), b, Want{Delete: true, Attempt: 1}); !fault.Has(err, fault.BMCUnsupported) || len(b.did) > 0 {
			t.Errorf("one that is on: %v, %v", b.did, err)
		}
	})
}

// I02: what is listed and can't be read might be what is to be kept: nothing is done.
func TestI02_NothingIsDoneWhileSomethingCantBeRead(t *testing.T) {
	for _, missing := range []string{"/s", "/d/2", "/v/1", "/v?support"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			b.volume("1", "a")
			delete(b.objects, missing)
			if _, err := Run(t.Context(), b, Want{Delete: true, Attempt: 1}); err == nil || len(b.did) > 0 {
				t.Errorf("without %s: %v, %v", missing, b.did, err)
			}
		})
	}
}

// Another volume than the one asked for is no success (F23), and a failure tells what there is.
func TestF23_AnotherVolumeThanWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.order = func(b *board, _, _ string) (string, error) {
			b.volume("1", "a")
			b.objects["/v/1"] = strings.Replace(b.objects["/v/1"], "RAID1", "RAID0", 1)
			return "", nil
		}
		data, err := Run(t.Context(), b, mirror(t, "a"))
		if !fault.Has(err, fault.StepFailed) || !strings.Contains(err.Error(), "RAID0 of 50 GiB") || len(b.did) != 1 {
			t.Errorf("%v, %v", b.did, err)
		}
		if got := fmt.Sprint(data["raid_config"]); !strings.Contains(got, "raid_level:0") {
			t.Errorf("it tells %s", got)
		}
	})
}
