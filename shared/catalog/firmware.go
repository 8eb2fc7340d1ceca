package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// The components that firmware.update knows by these names. A network adapter is NICPrefix and its id.
const (
	ComponentBIOS = "bios"
	ComponentBMC  = "bmc"
	NICPrefix     = "nic:"
)

// Bounds of one list of updates.
const (
	maxUpdates     = 16
	maxFirmwareURL = 2048 // bytes: BMCs keep it
	longestWait    = time.Hour
	longestWaits   = 3 * time.Hour // together: half of the time that the step has
)

// Firmware is one entry of firmware.update's argument settings: an image for a component, which may have several: it is brought
// up to date over several versions, in their order.
type Firmware struct {
	Component string
	URL       string
	Wait      time.Duration // after the update, before anything else is done
}

// FirmwareSettings reads the argument settings of firmware.update, as JSON decodes it. What it finds wrong it tells all at
// once, without repeating an address: that may hold a key.
func FirmwareSettings(v any) ([]Firmware, error) {
	list, _ := v.([]any)
	var out []Firmware
	var bad []string
	var waits time.Duration
	for i, e := range list {
		f, wrong := firmware(e)
		if wrong != "" {
			bad = append(bad, fmt.Sprintf("entry %d %s", i+1, wrong))
		}
		waits += f.Wait
		out = append(out, f)
	}
	if waits > longestWaits {
		bad = append(bad, fmt.Sprintf("the waits are %s together, at most %s are taken", waits, longestWaits))
	}
	switch {
	case len(list) == 0:
		bad = append(bad, "it is empty; expected is a list of objects with component and url")
	case len(list) > maxUpdates:
		bad = []string{fmt.Sprintf("%d entries are too many; %d at most are taken", len(list), maxUpdates)}
	}
	if len(bad) > 0 {
		return nil, errors.New(strings.Join(bad, "; "))
	}
	return out, nil
}

func firmware(e any) (f Firmware, wrong string) {
	entry, ok := e.(map[string]any)
	if !ok {
		return f, "is no object"
	}
	for key, v := range entry {
		text, isText := v.(string)
		switch key {
		case "component":
			if f.Component = text; !isText || !component(text) {
				return f, "has a component that is none of bios, bmc and nic:ID, where ID is an adapter's"
			}
		case "url":
			if f.URL = text; !isText {
				return f, "has a url that is no text"
			}
		case "wait":
			n, isNumber := v.(float64)
			if whole, isInt := v.(int); isInt {
				n, isNumber = float64(whole), true
			}
			if !isNumber || n != float64(int(n)) || n < 1 || n > longestWait.Seconds() {
				return f, fmt.Sprintf("has a wait that is no whole number of seconds from 1 to %.0f", longestWait.Seconds())
			}
			f.Wait = time.Duration(n) * time.Second
		default:
			return f, fmt.Sprintf("has the key %.40q; component, url and wait are known", key)
		}
	}
	if f.Component == "" || f.URL == "" {
		return f, "lacks component or url"
	}
	u, err := url.Parse(f.URL)
	switch {
	case err != nil || len(f.URL) > maxFirmwareURL || strings.ContainsFunc(f.URL, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return f, fmt.Sprintf("has a url that can't be parsed, or is longer than %d bytes", maxFirmwareURL)
	case u.Scheme != "http" && u.Scheme != "https":
		return f, fmt.Sprintf("has a url of scheme %.20q; the BMC fetches the image itself, by http or https", u.Scheme)
	case u.User != nil:
		return f, "has a user or password in its url, which would be kept and shown; serve the image without"
	case u.Hostname() == "" || u.Fragment != "":
		return f, "has a url that names no host, or has a fragment"
	}
	return f, ""
}

// component tells whether a component's name is one that can be updated.
func component(name string) bool {
	id, nic := strings.CutPrefix(name, NICPrefix)
	if !nic {
		return name == ComponentBIOS || name == ComponentBMC
	}
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '/' })
}
