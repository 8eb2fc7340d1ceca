// Package parts reads what a BMC tells of a machine beside power and boot: what it is made of, BIOS settings with their
// registry, firmware versions, indicators, event subscriptions. It reaches the BMC through Service alone, which holds all
// bounds of bytes, depth, requests and time and follows no foreign link; what is counted here is what one object may make of
// an answer (safety.md I25, F26). It decides nothing and keeps nothing.
//
// Start at Service; each file is one part.
package parts

import (
	"encoding/json"
	"strings"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Service is one operation on one BMC. A link is as the BMC wrote it; errors are bmc.* faults.
type Service interface {
	Read(link string, into any) error
	Members(link string) ([]string, error)
	Post(link string, body any) (raw []byte, location string, err error) // sent once
	Patch(link string, body any) error
	Delete(link string) error
	Missing(err error) bool // the BMC does not have what was asked
}

// Bounds of what is made of answers.
const (
	maxText     = 255
	maxValue    = 2048
	maxSettings = 4096
	maxAllowed  = 512
	maxChassis  = 8
	maxCards    = 64
	maxImages   = 256 // of firmware
)

// link is a reference to another object. What is no reference is none.
type link string

func (l *link) UnmarshalJSON(b []byte) error {
	var o struct {
		ID string `json:"@odata.id"`
	}
	if json.Unmarshal(b, &o) == nil {
		*l = link(o.ID)
	}
	return nil
}

// links is a list of them.
type links []link

func (l *links) UnmarshalJSON(b []byte) error {
	var all []link
	if json.Unmarshal(b, &all) == nil {
		*l = all
	}
	return nil
}

// Words makes text of a BMC fit to be shown: printable, one line, not longer than most characters.
func Words(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == 0xfffd {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most])
	}
	return s
}

func tooMany(what string, n, most int) error {
	return fault.New(fault.BMCTooLarge, "the BMC tells of %d %s, at most %d are taken", n, what, most)
}
