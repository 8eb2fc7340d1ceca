package volumes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

var (
	errGone = errors.New("not found")
	errBusy = fault.New(fault.BMCBusy, "busy")
	errWay  = fault.New(fault.BMCBusy, "503: no way through") // of a proxy, perhaps
)

// board is a machine in memory: its objects, by place, and what is done to it.
type board struct {
	objects map[string]string
	on      bool
	did     []string
	order   func(b *board, method, link string) (string, error)
	open    []string
	waits   bool
	task    func() (Task, error)
	noted   []byte
	later   string // the name of a volume that comes by itself
	at      time.Time
	goes    time.Time // when the volume 1 goes by itself; zero: it does not
	make    func(body map[string]any)
	ends    time.Time         // when what is open ends; zero: it does not
	looks   func(link string) // before each reading
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
	if b.looks != nil {
		b.looks(link)
	}
	switch link {
	case "/v":
		link = "/v?support"
	case "/v2":
		return nil
	}
	raw, ok := b.objects[link]
	if !ok {
		return errGone
	}
	return json.Unmarshal([]byte(raw), into)
}

func (b *board) Members(link string) (out []string, err error) {
	if b.later != "" && time.Now().After(b.at) {
		b.volume("1", b.later)
	}
	if !b.goes.IsZero() && time.Now().After(b.goes) {
		delete(b.objects, "/v/1")
		b.objects["/v"] = `[]`
	}
	raw, ok := b.objects[link]
	if !ok {
		return nil, errGone
	}
	return out, json.Unmarshal([]byte(raw), &out)
}

func (b *board) Missing(err error) bool { return errors.Is(err, errGone) }

func (b *board) Order(method, link string, body any) (string, error) {
	b.did = append(b.did, method+" "+link)
	if b.make != nil && method == "POST" {
		b.make(body.(map[string]any))
		return "", nil
	}
	return b.order(b, method, link)
}

func (b *board) Do(_ context.Context, do func(Service, string) error) error { return do(b, "/sys") }

func (b *board) Refusal(err error) Refusal {
	if errors.Is(err, errBusy) {
		return Busy
	}
	if errors.Is(err, errWay) {
		return Doubtful
	}
	return Unknown
}

func (b *board) Passing(ctx context.Context, err error) bool {
	return ctx.Err() == nil && fault.From(err).Code.Retriable()
}

func (b *board) Task(context.Context, string) (Task, error) { return b.task() }

func (b *board) Open(context.Context) ([]string, bool, error) {
	if !b.ends.IsZero() && time.Now().After(b.ends) {
		b.open = nil
	}
	return b.open, b.waits, nil
}

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

func (b *board) Note(_ context.Context, v any) (err error) {
	b.noted, err = json.Marshal(v)
	return err
}

func (b *board) At(float64, string, ...any) {}

func mirror(t *testing.T, name string) Want {
	t.Helper()
	return Want{Disks: wanted(t, fmt.Sprintf(`{"raid_level": "1", "size_gb": 50, "volume_name": %q}`, name)), Root: true, NonRoot: true}
}

func made1(b *board, _, _ string) (string, error) {
	b.volume("1", "a")
	return "", nil
}

// An attempt that follows one that was cut off looks for what that had asked for, as long as it may be on its way, and makes
// nothing a second time: not what the note tells, and not what may be it where the note does not.
func TestI08_F15_AnAttemptAfterACutLooksFirst(t *testing.T) {
	for name, c := range map[string]struct {
		there, later string // the name of a volume that is there, and of one that comes after a minute
		before       bool   // it was there before the order
		orders       int
		reason       fault.Reason
	}{
		"it was made":                        {there: "a"},
		"it was made under another name":     {there: "Virtual Disk 1"},
		"it is on its way":                   {later: "Virtual Disk 1"},
		"it was not":                         {orders: 1},
		"what is there was there before":     {there: "a", before: true},
		"what is there may be it or may not": {there: "Virtual Disk 1", before: true, reason: fault.StepInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				b.order = made1
				if c.there != "" {
					b.volume("1", c.there)
				}
				n := note{Made: made{}, Of: 0, Before: []string{}}
				if c.before {
					l, err := Read(b, "/sys")
					if err != nil {
						t.Fatal(err)
					}
					n.Before = []string{l.volumes()[0].key()}
				}
				w := mirror(t, "a")
				var err error
				if w.Noted, err = json.Marshal(n); err != nil {
					t.Fatal(err)
				}
				if c.later != "" {
					b.later, b.at = c.later, time.Now().Add(time.Minute)
				}
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
	if _, err := Run(t.Context(), newBoard(), Want{Delete: true, Noted: []byte("{")}); !fault.Has(err, fault.StepInterrupted) {
		t.Errorf("a note that can't be read: %v", err)
	}
}

// What is noted before an order tells the next attempt what was there, and what this one has made before.
func TestI08_AnOrderIsNotedBeforeItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.volume("7", "old")
		b.order = func(b *board, method, link string) (string, error) {
			var n note
			if err := json.Unmarshal(b.noted, &n); err != nil || (n.Of == 0) != (method == "POST") || len(n.Before) != map[bool]int{true: 0, false: 1}[method == "POST"] {
				t.Errorf("%s %s was noted as %s", method, link, b.noted)
			}
			if method == "POST" {
				return made1(b, method, link)
			}
			delete(b.objects, link)
			b.objects["/v"] = `[]`
			return "", nil
		}
		w := mirror(t, "a")
		w.Delete = true
		if _, err := Run(t.Context(), b, w); err != nil || strings.Join(b.did, ", ") != "DELETE /v/7, POST /v" {
			t.Errorf("%v, %v", b.did, err)
		}
	})
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
		if _, err := Run(t.Context(), b, Want{Delete: true}); !fault.Has(err, fault.BMCUnsupported) || strings.Join(b.did, ", ") != "on" {
			t.Errorf("%v, %v", b.did, err)
		}
		b.did = nil
		if _, err := Run(t.Context(), b, Want{Delete: true}); !fault.Has(err, fault.BMCUnsupported) || len(b.did) > 0 {
			t.Errorf("one that is on: %v, %v", b.did, err)
		}
	})
}

// I02: what is listed and can't be read might be what is to be kept: nothing is done, at no other controller either.
func TestI02_NothingIsDoneWhileSomethingCantBeRead(t *testing.T) {
	for _, missing := range []string{"/s", "/d/2", "/v/1", "/v?support", ""} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			b.volume("1", "a")
			b.objects["/stores"] = `["/s", "/s2"]`
			b.objects["/s2"] = `{"Id": "c2", "Volumes": {"@odata.id": "/v2"}}`
			b.objects["/v2"] = `["/v2/1"]`
			b.objects["/v2/1"] = `{"Id": "1", "Name": "b", "RAIDType": "RAID0", "CapacityBytes": 53687091200}`
			delete(b.objects, missing)
			b.order = func(*board, string, string) (string, error) { return "", errors.New("no answer") }
			if _, err := Run(t.Context(), b, Want{Delete: true}); err == nil || (len(b.did) > 0) != (missing == "") {
				t.Errorf("without %q: %v, %v", missing, b.did, err)
			}
		})
	}
}

// I02: a drive or a volume has several worldwide names, in whatever order, and skip_block_devices may keep it by any of them.
func TestI02_EachWorldwideNameKeeps(t *testing.T) {
	const names = `, "Identifiers": [{"DurableNameFormat": "UUID", "DurableName": "x"}, {"DurableNameFormat": "NAA", "DurableName": "5000C500A0B0C0D%d"}, {"DurableNameFormat": "EUI", "DurableName": %q}]}`
	for wwn, kept := range map[string]bool{"eui.0011223344556677": true, "0x0011223344556677": true, "<or> x <or> eui.0011223344556677": true, "0x5000c500a0b0c0d9": false} {
		for _, place := range []string{"/d/1", "/v/1"} {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				b.volume("1", "a")
				for i, p := range []string{"/d/1", "/d/2", "/v/1"} {
					eui := fmt.Sprintf("ff1122334455667%d", i)
					if p == place {
						eui = "0011223344556677"
					}
					b.objects[p] = strings.TrimSuffix(b.objects[p], "}") + fmt.Sprintf(names, i+1, eui)
				}
				b.order = func(b *board, _, link string) (string, error) {
					delete(b.objects, link)
					b.objects["/v"] = `[]`
					return "", nil
				}
				w := Want{Delete: true, Properties: map[string]any{"skip_block_devices": []any{map[string]any{"wwn": wwn}}}}
				if _, err := Run(t.Context(), b, w); err != nil || (len(b.did) == 0) != kept {
					t.Errorf("%s of %s: %v, %v", wwn, place, b.did, err)
				}
			})
		}
	}
}

// names has the BMC tell the worldwide names of a volume.
func (b *board) names(id string, all ...string) {
	list := []string{}
	for _, n := range all {
		format, name := "NAA", strings.TrimPrefix(n, "0x")
		if rest, eui := strings.CutPrefix(n, "eui."); eui {
			format, name = "EUI", rest
		}
		list = append(list, fmt.Sprintf(`{"DurableNameFormat": %q, "DurableName": %q}`, format, name))
	}
	before, _, _ := strings.Cut(strings.TrimSuffix(b.objects["/v/"+id], "}"), `, "Identifiers"`)
	b.objects["/v/"+id] = before + `, "Identifiers": [` + strings.Join(list, ", ") + "]}"
}

// F23, I8: so it is though the BMC tells some of its names later, or not at times. One that was made is not made again beside it, and one that is being deleted is not ordered to be deleted twice.
func TestI08_F23_AVolumeIsTheSameByAnyOfItsNames(t *testing.T) {
	for name, c := range map[string][2][]string{
		"in another order":   {{"0x2", "eui.1"}, {"eui.1", "0x2"}},
		"one comes later":    {{"eui.1"}, {"0x2", "eui.1"}},
		"one goes":           {{"0x2", "eui.1"}, {"eui.1"}},
		"they come later":    {{}, {"0x2", "eui.1"}},
		"they go for a time": {{"0x2", "eui.1"}, {}},
	} {
		for _, order := range []string{"POST /v", "DELETE /v/1"} {
			synctest.Test(t, func(t *testing.T) {
				b, looks := newBoard(), 0 // since the order
				b.looks = func(link string) {
					if link != "/v/1" {
						return
					}
					if len(b.did) > 0 {
						looks++
					}
					now := c[0]
					if order == "POST /v" && looks > 1 || order != "POST /v" && looks > 0 {
						now = c[1]
					}
					b.names("1", now...)
				}
				w := Want{Delete: true}
				if order == "POST /v" {
					w = mirror(t, "a")
					b.order = func(b *board, _, _ string) (string, error) { b.volume("1", "Virtual Disk 1"); return "", nil }
				} else {
					b.volume("1", "a")
					b.order = func(b *board, _, _ string) (string, error) {
						b.goes = time.Now().Add(time.Minute)
						return "", nil
					}
				}
				data, err := Run(t.Context(), b, w)
				if err != nil || !slices.Equal(b.did, []string{order}) || data["created"].(float64)+data["deleted"].(float64) != 1 {
					t.Errorf("%s: %v, %v, %v", name, b.did, data, err)
				}
			})
		}
	}
}

// F23: a volume is the same one, whichever of its names the BMC tells first.
func TestF23_TheOrderOfNamesIsNoOtherVolume(t *testing.T) {
	a := Volume{WWN: "0x2", Others: []string{"eui.1"}}
	b := Volume{WWN: "eui.1", Others: []string{"0x2"}}
	for _, v := range []*Volume{&a, &b} {
		l := Layout{Controllers: []Controller{{Volumes: []Volume{*v, {WWN: "0x3"}}}}}
		l.names()
		*v = l.Controllers[0].Volumes[0]
	}
	if !same(a.key(), b.key()) || same(a.key(), (Volume{own: []string{"0x3"}}).key()) {
		t.Errorf("%s and %s", a.key(), b.key())
	}
}

// A name that the BMC tells of several volumes, such as their controller's, tells none from another.
func TestF23_ANameThatVolumesShareIsNone(t *testing.T) {
	for _, shared := range []string{"0x0", "eui.9"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			b.volume("1", "a")
			b.volume("2", "b")
			b.objects["/v"] = `["/v/1", "/v/2"]`
			b.names("1", "0x5", shared)
			b.names("2", shared, "0x6")
			b.order = func(b *board, _, link string) (string, error) {
				delete(b.objects, link)
				b.objects["/v"] = map[bool]string{true: `["/v/2"]`, false: `[]`}[link == "/v/1" && len(b.did) == 1]
				return "", nil
			}
			data, err := Run(t.Context(), b, Want{Delete: true})
			if err != nil || !slices.Equal(b.did, []string{"DELETE /v/1", "DELETE /v/2"}) || data["deleted"] != 2.0 {
				t.Errorf("%s: %v, %v, %v", shared, b.did, data, err)
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

// Where the controller does not let it be said when an order takes effect, the machine is restarted for a task that waits, or that
// tells nothing for long, and not under one that is at work.
func TestF15_NoRestartUnderAnOrderAtWork(t *testing.T) {
	waits, works, silent := Task{Waits: true}, Task{Percent: 10}, Task{Silent: true}
	for name, c := range map[string]struct {
		first, then Task          // then from a look later
		ends        time.Duration // after the order; 0: after the restart
		did         string
	}{
		"at work":               {works, works, 10 * time.Minute, "POST /v"},
		"new, and soon at work": {waits, works, 10 * time.Minute, "POST /v"},
		"it waits":              {waits, waits, 0, "POST /v, restart"},
		"it ends in silence":    {silent, silent, time.Minute, "POST /v"},
		"it stands in silence":  {silent, silent, 0, "POST /v, restart"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoard()
			var given time.Time
			b.order = func(*board, string, string) (string, error) { given = time.Now(); return "/t", nil }
			b.task = func() (Task, error) {
				since := time.Since(given)
				switch {
				case c.ends == 0 && slices.Contains(b.did, "restart") || c.ends > 0 && since >= c.ends:
					b.volume("1", "a")
					return Task{Done: true}, nil
				case since >= pause:
					return c.then, nil
				}
				return c.first, nil
			}
			if _, err := Run(t.Context(), b, mirror(t, "a")); err != nil || strings.Join(b.did, ", ") != c.did {
				t.Errorf("%s: %v, %v; expected %s", name, b.did, err, c.did)
			}
		})
	}
}

// A proxy before the BMC may answer 503 though it has handed the order on: what it was for is looked for before it is given again.
func TestI08_F15_BehindAProxyAVolumeIsLookedForBeforeItIsAskedForAgain(t *testing.T) {
	for name, c := range map[string]struct {
		answers []error       // of the orders; the last stays
		comes   time.Duration // after the first order the volume comes about; 0: it does not
		named   string
		queue   time.Duration // after the first order its task ends, with the volume
		orders  int
		reason  fault.Reason
	}{
		"handed on":              {answers: []error{errWay}, comes: time.Second, named: "a", orders: 1},
		"handed on, and slow":    {answers: []error{errWay}, comes: time.Minute, named: "a", orders: 1},
		"handed on, named anew":  {answers: []error{errWay}, comes: time.Minute, named: "Virtual Disk 1", orders: 1},
		"handed on, as a task":   {answers: []error{errWay}, queue: 10 * time.Minute, named: "Virtual Disk 1", orders: 1},
		"turned back once":       {answers: []error{errWay, nil}, orders: 2},
		"turned back, then busy": {answers: []error{errWay, errBusy, nil}, orders: 3},
		"turned back each time":  {answers: []error{errWay}, orders: 4, reason: fault.BMCBusy},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBoard()
				var first time.Time
				b.order = func(b *board, _, _ string) (string, error) {
					if first.IsZero() {
						first = time.Now()
						if c.comes > 0 {
							b.later, b.at = c.named, first.Add(c.comes)
						}
						if c.queue > 0 {
							b.later, b.at, b.open, b.ends = c.named, first.Add(c.queue), []string{"JID_1 (Running)"}, first.Add(c.queue)
						}
					}
					err := c.answers[min(len(b.did), len(c.answers))-1]
					if err == nil {
						b.volume("1", "a")
					}
					return "", err
				}
				data, err := Run(t.Context(), b, mirror(t, "a"))
				if len(b.did) != c.orders || c.reason == "" && (err != nil || data["created"] != 1.0) || c.reason != "" && !fault.Has(err, c.reason) {
					t.Errorf("%v, %v, %v", b.did, data, err)
				}
			})
		})
	}
}

// I14: a BMC that answers each time that it did not take an order, and does it, and undoes it again, is given no orders without end.
func TestI14_F23_OrdersThatAreDeniedAndDoneEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoard()
		b.volume("1", "a")
		after := 0 // readings since the order
		b.looks = func(link string) {
			if link != "/v" {
				return
			}
			if after++; after > 1 {
				b.objects["/v"] = `["/v/1"]`
			}
		}
		b.order = func(b *board, _, _ string) (string, error) {
			if len(b.did) > 2*orders {
				t.Fatalf("%d orders, and no end", len(b.did))
			}
			after, b.objects["/v"] = 0, `[]`
			return "", errWay
		}
		if _, err := Run(t.Context(), b, Want{Delete: true}); !fault.Has(err, fault.StepFailed) || len(b.did) > orders+1 {
			t.Errorf("%d orders: %v", len(b.did), err)
		}
	})
}

// I4: the root volume is found by a name of its own, not by one that the BMC tells of several volumes.
func TestI04_TheRootIsHintedByANameOfItsOwn(t *testing.T) {
	for want, v := range map[string]Volume{"0x5": {WWN: "0x5"}, "eui.1": {WWN: "0x0", Others: []string{"eui.1"}}, "": {WWN: "0x0"}} {
		l := Layout{Controllers: []Controller{{Volumes: []Volume{v, {Link: "/v/2", WWN: "0x6", Others: []string{"0x0"}}}}}}
		l.names()
		root, _ := l.config(l.volumes()[0].key())[0].(map[string]any)
		hint, _ := root["root_device_hint"].(map[string]any)
		if got, _ := hint["wwn"].(string); got != want || root["is_root_volume"] != true {
			t.Errorf("%+v, expected %q", root, want)
		}
	}
}
