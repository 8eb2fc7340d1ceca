package parts

import (
	"strings"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// lamp is an indicator with the object it belongs to. Newer objects have LocationIndicatorActive, older ones IndicatorLED.
type lamp struct {
	conductor.Light
	place  string
	active bool // it is LocationIndicatorActive
}

var ledStates = map[string]string{"Lit": "on", "Off": "off", "Blinking": "blinking"}

// Lights lists the indicators of the system and its chassis.
func Lights(s Service, m Machine) ([]conductor.Light, error) {
	all, err := lamps(s, m)
	out := make([]conductor.Light, 0, len(all))
	for _, l := range all {
		out = append(out, l.Light)
	}
	return out, err
}

func lamps(s Service, m Machine) ([]lamp, error) {
	out := []lamp{}
	for i, place := range append([]string{m.System}, m.Chassis[:min(len(m.Chassis), maxChassis)]...) {
		var o struct {
			ID           string `json:"Id"`
			IndicatorLED any
			Active       any `json:"LocationIndicatorActive"`
		}
		if err := s.Read(place, &o); err != nil {
			if i > 0 && s.Missing(err) {
				continue
			}
			return out, err
		}
		l := lamp{Light: conductor.Light{Component: "system", Name: plain(o.ID), State: "unknown"}, place: place}
		if i > 0 {
			l.Component = "chassis"
		}
		active, isNew := o.Active.(bool)
		led, isOld := o.IndicatorLED.(string)
		switch {
		case isNew:
			l.active, l.States, l.State = true, []string{"on", "off"}, map[bool]string{true: "on", false: "off"}[active]
		case isOld && led != "":
			l.States = []string{"on", "off", "blinking"}
			if known := ledStates[led]; known != "" {
				l.State = known
			}
		default:
			continue
		}
		out = append(out, l)
	}
	return out, nil
}

// plain is an id that can stand in a path.
func plain(id string) string {
	id = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return '_'
	}, Words(id, 64))
	if id == "" {
		return "led"
	}
	return id
}

// SetLight switches an indicator and reads that back: some BMCs accept it and do nothing (F23).
func SetLight(s Service, m Machine, component, name, state string) error {
	all, err := lamps(s, m)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.Component != component || l.Name != name {
			continue
		}
		if l.State == state {
			return nil
		}
		body := map[string]any{}
		switch {
		case l.active && state == "blinking":
			return fault.New(fault.BMCUnsupported, "the indicator %s@%s is on or off, and can't be %s", name, component, state)
		case l.active:
			body["LocationIndicatorActive"] = state == "on"
		default:
			for led, s := range ledStates {
				if s == state {
					body["IndicatorLED"] = led
				}
			}
		}
		if err := s.Patch(l.place, body); err != nil {
			return err
		}
		after, err := lamps(s, m)
		for _, a := range after {
			if err == nil && a.place == l.place && a.State != state {
				return fault.New(fault.BMCError, "the BMC accepted to switch the indicator %s@%s to %s, but it is still %s", name, component, state, a.State)
			}
		}
		return err
	}
	return fault.New(fault.LightNotFound, "there is no indicator %s@%s", name, component)
}
