package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bessemer-metal/bessemer/shared/fault"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// Bounds of what is told of a step. An agent keeps to them before it tells (Fit…, CheckResult); Check refuses by the same.
const (
	MaxMessage = 2000        // bytes of a fault's message, and of its hint
	MaxResult  = MaxBody / 2 // bytes of a result as JSON, so that an end with progress and fault fits into a message
	MaxSteps   = 512         // steps of one manager
	MaxOffer   = MaxBody / 8 // bytes of the steps of one manager as JSON, so that those of some managers fit into a heartbeat
	maxList    = MaxBody / 8 // bytes of a progress's disks as JSON, and of its checkpoints; the rest is for what is around them
)

// text is a short text of a message: its field's name, and where it stands.
type text struct {
	field string
	at    *string
}

// texts lists the short texts of a progress, but for those of its checkpoints.
func texts(p *step.Progress) []text {
	out := []text{{"item", &p.Item}, {"unit", &p.Unit}, {"uncut", &p.Uncut}}
	for i := range p.Devices {
		d := &p.Devices[i]
		out = append(out, text{"device", &d.Device}, text{"stage", &d.Stage}, text{"method", &d.Method}, text{"verify", &d.Verify})
	}
	return out
}

// checkpoint refuses a place where nobody could go on.
func checkpoint(c step.Checkpoint) error {
	if c.Until < 0 || c.Until > c.Disk.Size {
		return invalid("a checkpoint is outside its disk")
	}
	all := []string{"method", c.Method, "serial", c.Disk.Serial, "wwn", c.Disk.WWN, "class", string(c.Disk.Class)}
	if slices.ContainsFunc(all, func(s string) bool { return !utf8.ValidString(s) }) {
		return invalid("a checkpoint's disk is not named in UTF-8")
	}
	return names(all...)
}

// FitProgress makes a step's report one that a server takes, whatever the step says: texts are cut, control characters
// become spaces. A checkpoint that does not fit is left out, as a disk's identity can't be cut; so is the end of a list of
// disks that is too long. What fits is not changed.
func FitProgress(p step.Progress) step.Progress {
	p = p.After(nil)
	p.Checkpoints = slices.DeleteFunc(slices.Clone(p.Checkpoints), func(c step.Checkpoint) bool { return checkpoint(c) != nil })
	for _, t := range texts(&p) {
		*t.at = upTo(printable(*t.at), maxName)
	}
	for len(p.Devices) > MaxElements || tooLong(p.Devices) {
		p.Devices = p.Devices[:len(p.Devices)/2]
	}
	if tooLong(p.Checkpoints) {
		p.Checkpoints = nil
	}
	return p
}

func tooLong(list any) bool {
	raw, err := json.Marshal(list)
	return err != nil || len(raw) > maxList
}

// CheckResult tells whether a server takes what a step left: it goes through all that an arriving result does. The fault
// is step.result_too_large.
func CheckResult(r step.Result) error {
	raw, err := json.Marshal(r)
	switch {
	case err != nil:
	case len(raw) > MaxResult:
		err = invalid("it has %d bytes, at most %d are accepted", len(raw), MaxResult)
	default:
		var q ResultRequest
		raw, err = json.Marshal(ResultRequest{Seq: 1, ID: "id", Nonce: strings.Repeat("n", minNonce), Outcome: Succeeded, Result: &r})
		if err == nil {
			err = Decode(bytes.NewReader(raw), MaxBody, &q)
		}
		if err == nil {
			err = q.Check()
		}
	}
	if err == nil {
		return nil
	}
	what := err.Error()
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		what = f.Message
	}
	return fault.New(fault.StepResult, "the step's work is done, but what it left can't be told: %s", what)
}

// CheckOffer tells whether a server takes these steps and managers, which an agent tells in its first heartbeat: it goes through
// all that an arriving one does. The fault is request.invalid or request.too_large.
func CheckOffer(steps []step.Step, versions map[string]string) error {
	raw, err := json.Marshal(HeartbeatRequest{Seq: 1, Steps: steps, Versions: versions})
	if err != nil {
		return invalid("it can't be told in JSON: %v", err)
	}
	var q HeartbeatRequest
	if err := Decode(bytes.NewReader(raw), MaxBody, &q); err != nil {
		return err
	}
	return q.Check()
}

// FitFault makes a fault one that a server takes: an error may quote all that a tool printed.
func FitFault(f Fault) Fault {
	f.Message, f.Hint = Shorten(f.Message, MaxMessage), Shorten(f.Hint, MaxMessage)
	return f
}

// Shorten gives at most n bytes of s, which then ends in dots and is valid UTF-8.
func Shorten(s string, n int) string {
	const dots = " ..."
	if s = strings.ToValidUTF8(s, "\ufffd"); len(s) <= n {
		return s
	}
	return upTo(s, n-len(dots)) + dots
}

// upTo gives at most n bytes of s, and no half of a character.
func upTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// control tells whether a character could break a log line.
func control(r rune) bool { return r < ' ' || r == 0x7f }

// printable puts a space for each control character, and a mark for what is no UTF-8, as JSON would.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, s)
}
