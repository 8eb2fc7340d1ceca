package system

import (
	"strings"
	"testing"
)

// FuzzZ9_Uevents: any datagram is an event or none, and nothing of it is made up.
func FuzzZ9_Uevents(f *testing.F) {
	for _, s := range []string{"add@/devices/x\x00SUBSYSTEM=net\x00INTERFACE=eth0\x00", "add@/d\x00MODALIAS=pci:v1\x00DEVNAME=sda", "libudev\x00", "", "@", "add@\x00=\x00SUBSYSTEM", "\xff@\x00SUBSYSTEM=\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := parseEvent(b)
		if !ok {
			if e != (Event{}) {
				t.Fatalf("%q is no event and %+v", b, e)
			}
			return
		}
		for _, part := range []string{e.Action, e.Subsystem, e.Modalias, e.Name} {
			if !strings.Contains(string(b), part) || strings.Contains(part, "\x00") {
				t.Fatalf("%q gives %+v", b, e)
			}
		}
	})
}
