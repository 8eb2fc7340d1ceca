package bmc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An image of this emulator is a text of four lines, and then as many bytes as the last of them says:
//
//	bessemer-firmware 1
//	component: bios
//	version: 2.0
//	size: 4
//	....
const (
	imageMagic   = "bessemer-firmware 1"
	maxImage     = 64 << 20 // bytes, of the whole
	maxImageLine = 200
)

// FirmwareImage makes an image of a component in a version, with so many bytes behind its lines.
func FirmwareImage(component, version string, size int) []byte {
	return append(fmt.Appendf(nil, "%s\ncomponent: %s\nversion: %s\nsize: %d\n", imageMagic, component, version, size), make([]byte, size)...)
}

// updateTask is the name of the tasks that install firmware.
const updateTask = "Firmware update"

// firmware is the versions that a machine begins with.
func firmware() map[string]string {
	return map[string]string{"bios": "1.0", "bmc": "1.0", "nic:1": "22.5.7"}
}

// Firmware tells the version of each component.
func (m *Machine) Firmware() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.state.firmware)
}

// Updating tells whether an image is being fetched or checked.
func (m *Machine) Updating() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.tasks, func(t *task) bool { return t.name == updateTask && t.state == "Running" })
}

// Update takes the order to fetch an image and to install it, as a task. What concerns the machine takes effect at its next
// start; the BMC's own firmware at once, by restart, which takes the BMC away. Waits makes the task wait for that start, too.
func (m *Machine) Update(ctx context.Context, address string, delay time.Duration, waits bool, restart func(context.Context)) Task {
	m.did(ctx, ActUpdate, shown(address))
	life, cancel := context.WithCancel(m.env.Context)
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &task{name: updateTask, state: "Running", cancel: cancel}
	m.addTask(t)
	m.wg.Go(func() {
		defer cancel()
		component, version, err := m.fetch(life, t, address, delay)
		m.mu.Lock()
		t.end = m.env.Now()
		switch {
		case life.Err() != nil:
			t.state = "Cancelled"
		case err != nil:
			t.state, t.err = "Exception", err
		case component == "bmc":
			t.state, t.percent = "Completed", 100
			m.did(context.Background(), ActInstall, "bmc "+version)
			m.state.firmware["bmc"] = version
		default:
			t.state, t.percent = "Completed", 100
			if waits {
				t.state = "Pending"
			}
			if m.state.firmwareNext == nil {
				m.state.firmwareNext = map[string]string{}
			}
			m.state.firmwareNext[component] = version
		}
		done := t.state == "Completed" && component == "bmc"
		m.mu.Unlock()
		if done {
			restart(context.WithoutCancel(life))
		}
	})
	return t.view()
}

// installs lets what was fetched take effect, as a start of the machine does. The lock is held.
func (m *Machine) installs() {
	for _, component := range slices.Sorted(maps.Keys(m.state.firmwareNext)) {
		version := m.state.firmwareNext[component]
		m.did(context.Background(), ActInstall, component+" "+version)
		m.state.firmware[component] = version
	}
	m.state.firmwareNext = nil
	m.finishTasks(updateTask)
}

// fetch reads the whole image, telling how far it is, and checks it.
func (m *Machine) fetch(ctx context.Context, t *task, address string, delay time.Duration) (component, version string, err error) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return "", "", ctx.Err()
	case <-timer.C:
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", "", errors.New("the address of the image is none")
	}
	resp, err := m.env.Media.Do(r)
	if err != nil {
		return "", "", fmt.Errorf("the image at %s can't be fetched: its server does not answer", shown(address))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("the image at %s can't be fetched: %s", shown(address), resp.Status)
	}
	body := bufio.NewReader(io.LimitReader(resp.Body, maxImage))
	component, version, size, err := m.readImage(body)
	if err != nil {
		return "", "", fmt.Errorf("the image at %s is none for this machine: %w", shown(address), err)
	}
	for read, chunk := 0, max(size/10, 1); read < size; {
		n, err := io.CopyN(io.Discard, body, int64(min(chunk, size-read)))
		read += int(n)
		if err != nil {
			return "", "", fmt.Errorf("the image at %s ends after %d of %d bytes", shown(address), read, size)
		}
		m.mu.Lock()
		t.percent = 90 * read / size
		m.mu.Unlock()
	}
	return component, version, nil
}

func (m *Machine) readImage(r *bufio.Reader) (component, version string, size int, err error) {
	var lines [4]string
	for i := range lines {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) > maxImageLine {
			return "", "", 0, errors.New("it lacks its first lines")
		}
		lines[i] = strings.TrimSuffix(string(line), "\n")
	}
	values := [3]string{}
	for i, key := range []string{"component: ", "version: ", "size: "} {
		value, found := strings.CutPrefix(lines[i+1], key)
		if values[i] = value; !found || value == "" {
			return "", "", 0, fmt.Errorf("line %d is %q, expected %s…", i+2, lines[i+1], key)
		}
	}
	size, err = strconv.Atoi(values[2])
	switch {
	case lines[0] != imageMagic:
		return "", "", 0, fmt.Errorf("it begins with %q, expected %q", lines[0], imageMagic)
	case err != nil || size < 0 || size > maxImage:
		return "", "", 0, fmt.Errorf("its size is %q", values[2])
	case m.Firmware()[values[0]] == "":
		return "", "", 0, fmt.Errorf("there is no component %q", values[0])
	}
	return values[0], values[1], size, nil
}

// shown is an address without what may be a key in it.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
