package output

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/state"
	"github.com/bessemer-metal/bessemer/shared/step"
)

// NodeName is what people call a node.
func NodeName(n api.Node) string { return cmp.Or(Text(n.Name), n.UUID) }

// StateText is a state and, while work goes on, where it leads: a failure leaves the target where it was.
func StateText(s, target state.State) string {
	if _, going := state.FlowOf(s); going && target != "" {
		return string(s) + " -> " + string(target)
	}
	return string(s)
}

// WaitText is what a wait is for, who is to act, since when and until when, and its last sign of life.
func (p *Printer) WaitText(w api.Wait) string {
	t := fmt.Sprintf("%s (%s), since %s (%s), until %s (%s left)", w.For, w.Owner, p.Clock(w.Since), p.Ago(w.Since), p.Clock(w.Deadline), Span(w.Deadline.Sub(p.Now())))
	if w.Evidence != "" {
		t += "; last sign: " + w.Evidence
		if !w.Seen.IsZero() {
			t += ", " + p.Ago(w.Seen) + " ago"
		}
	}
	return t
}

// ProgressText is percent, amount, rate and time left of a step.
func ProgressText(p *step.Progress) string {
	if p == nil {
		return ""
	}
	t := fmt.Sprintf("%.0f%%", p.Percent)
	if p.Unit == "bytes" && p.Total > 0 {
		t += fmt.Sprintf(", %s of %s", Size(float64(p.Done)), Size(float64(p.Total)))
	}
	t += rateText(p.Rate, p.Unit)
	if p.Left > 0 {
		t += fmt.Sprintf(", %s left", Span(p.Left))
	}
	if p.Item != "" {
		t += ", " + p.Item
	}
	return t
}

// DeviceText is the same of one of the step's disks.
func DeviceText(d step.DeviceProgress, unit string) string {
	t := fmt.Sprintf("%.0f%%%s", d.Percent, rateText(d.Rate, unit))
	if d.Left > 0 {
		t += fmt.Sprintf(", %s left", Span(d.Left))
	}
	for _, more := range []string{d.Stage, d.Method} {
		if more != "" {
			t += ", " + more
		}
	}
	if d.Verify != "" && d.Stage != "verify" {
		t += ", verification " + d.Verify
	}
	return t
}

func rateText(rate float64, unit string) string {
	switch {
	case rate <= 0:
		return ""
	case unit == "%":
		return fmt.Sprintf(", %.1f %%/min", rate*60)
	case unit == "bytes" || unit == "":
		return ", " + Size(rate) + "/s"
	}
	return fmt.Sprintf(", %.1f %s/s", rate, unit)
}

// FaultText is what happened, with what to do.
func FaultText(f api.Fault) string {
	t := f.Message
	if f.Hint != "" {
		t += " (" + f.Hint + ")"
	}
	return t
}

// left is how long until a moment, for bars.
func left(now time.Time, t api.Time) string {
	if t.IsZero() {
		return ""
	}
	return Span(t.Sub(now)) + " left"
}

// LogLine is a line of slog's JSON as people read it: time, level, message, then the rest by name. Control characters
// of a hostile agent do not reach the terminal.
func LogLine(line string) string {
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil || m["msg"] == nil {
		return Printable(line)
	}
	when, _ := m["time"].(string)
	if t, err := time.Parse(time.RFC3339Nano, when); err == nil {
		when = t.UTC().Format("15:04:05.000Z")
	}
	level, _ := m["level"].(string)
	out := strings.TrimLeft(fmt.Sprintf("%s %-5s %v", when, level, m["msg"]), " ")
	delete(m, "time")
	delete(m, "level")
	delete(m, "msg")
	if rest := Flat(m); rest != "" {
		out += "  " + rest
	}
	return Printable(out)
}

// Printable is s with its control characters, tabs aside, made visible.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
