package bmc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serving answers each address with a body, as long as it says in its headers.
type serving map[string][]byte

func (s serving) RoundTrip(r *http.Request) (*http.Response, error) {
	body, found := s[r.URL.Path]
	if !found {
		return nil, errors.New("nobody is there")
	}
	status := http.StatusOK
	if body == nil {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// updating is a machine whose images are served, and the order to install one.
func updating(t *testing.T, images serving) (m *Machine, update func(path string, waits bool) Task, told *[]Act) {
	told = &[]Act{}
	m = machine(t, Config{OnAct: func(a Act) { *told = append(*told, a) }})
	m.env.Media = &http.Client{Transport: images}
	return m, func(path string, waits bool) Task {
		t.Helper()
		task := m.Update(t.Context(), "http://user:canary@images.test"+path+"?sig=canary", time.Minute, waits, func(ctx context.Context) { m.Restart(ctx) })
		if task.State != "Running" || !m.Updating() {
			t.Errorf("the task is %+v", task)
		}
		<-time.After(2 * time.Minute)
		synctest.Wait()
		i := slices.IndexFunc(m.Tasks(), func(x Task) bool { return x.ID == task.ID })
		if i < 0 {
			return Task{State: "forgotten"}
		}
		return m.Tasks()[i]
	}, told
}

func TestFirmwareTakesEffectWhereItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, update, told := updating(t, serving{"/bios": FirmwareImage("bios", "2.0", 1000), "/nic": FirmwareImage("nic:1", "23.1", 0), "/bmc": FirmwareImage("bmc", "3.0", 7)})
		defer closed(t, m)
		if got := update("/bios", false); got.State != "Completed" || got.Percent != 100 || m.Firmware()["bios"] != "1.0" {
			t.Errorf("%+v, %v", got, m.Firmware())
		}
		if got := update("/nic", true); got.State != "Pending" || m.Firmware()["nic:1"] != "22.5.7" {
			t.Errorf("%+v, %v", got, m.Firmware())
		}
		if err := m.Reset(t.Context(), "On"); err != nil {
			t.Fatal(err)
		}
		if v := m.Firmware(); v["bios"] != "2.0" || v["nic:1"] != "23.1" || v["bmc"] != "1.0" {
			t.Errorf("after the start: %v", v)
		}
		if !slices.ContainsFunc(m.Tasks(), func(t Task) bool { return t.Name == updateTask && t.State == "Completed" }) || slices.ContainsFunc(m.Tasks(), func(t Task) bool { return !t.Over() }) {
			t.Errorf("tasks %+v", m.Tasks())
		}
		if got := update("/bmc", false); got.State != "forgotten" || m.Firmware()["bmc"] != "3.0" || m.Restarts() != 1 || !m.On() {
			t.Errorf("%+v, %v, %d restarts", got, m.Firmware(), m.Restarts())
		}
		want := []Act{{ActUpdate, "http://images.test/bios", ""}, {ActUpdate, "http://images.test/nic", ""}, {ActInstall, "bios 2.0", ""}, {ActInstall, "nic:1 23.1", ""}, {ActPowerOn, "None", ""},
			{ActUpdate, "http://images.test/bmc", ""}, {ActInstall, "bmc 3.0", ""}, {ActResetBMC, "", ""}}
		if !slices.Equal(*told, want) {
			t.Errorf("told %v", *told)
		}
	})
}

func TestImagesThatAreNone(t *testing.T) {
	good := FirmwareImage("bios", "2.0", 100)
	for name, c := range map[string]struct {
		image []byte
		says  string
	}{
		"not found":      {nil, "404 Not Found"},
		"an ISO":         {make([]byte, 5000), "lacks its first lines"},
		"another format": {[]byte("firmware 9\ncomponent: bios\nversion: 2\nsize: 0\n"), "begins with"},
		"no version":     {[]byte("bessemer-firmware 1\ncomponent: bios\nsize: 0\nversion: 2\n"), "line 3"},
		"a size that is": {[]byte("bessemer-firmware 1\ncomponent: bios\nversion: 2\nsize: -1\n"), "its size"},
		"another part":   {FirmwareImage("nic:9", "2", 0), `no component "nic:9"`},
		"cut off":        {good[:len(good)-1], "ends after 99 of 100 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, update, _ := updating(t, serving{"/x": c.image})
				defer closed(t, m)
				got := update("/x", false)
				if got.State != "Exception" || got.Err == nil || !strings.Contains(got.Err.Error(), c.says) || strings.Contains(got.Err.Error(), "canary") {
					t.Errorf("%+v", got)
				}
				if err := m.Reset(t.Context(), "On"); err != nil || m.Firmware()["bios"] != "1.0" {
					t.Errorf("%v, %v", err, m.Firmware())
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		m, update, _ := updating(t, serving{})
		defer closed(t, m)
		if got := update("/x", false); got.State != "Exception" || strings.Contains(got.Err.Error(), "canary") {
			t.Errorf("nobody there: %+v", got)
		}
	})
}

// What a restart of the BMC, or its queue's clearance, takes away is not installed.
func TestAnUpdateThatIsTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, update, _ := updating(t, serving{"/bios": FirmwareImage("bios", "2.0", 1000)})
		defer closed(t, m)
		m.Update(t.Context(), "http://images.test/bios", time.Minute, false, func(context.Context) {})
		m.Restart(t.Context())
		<-time.After(2 * time.Minute)
		if !m.DeleteTask(update("/bios", true).ID) {
			t.Error("the waiting task could not be deleted")
		}
		if err := m.Reset(t.Context(), "On"); err != nil || m.Firmware()["bios"] != "1.0" {
			t.Errorf("%v, %v", err, m.Firmware())
		}
	})
}
