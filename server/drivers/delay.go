package drivers

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bessemer-metal/bessemer/shared/fault"
)

// Delay is how long a fake act takes: drawn anew each time, mostly near Least, never beyond Most. The zero value is at once.
type Delay struct{ Least, Most time.Duration }

// longestDelay keeps a fake step inside the deadlines of its flow.
const longestDelay = 10 * time.Minute

// Draw gives one delay; u is a random number from 0 to 1. The densities form a triangle that falls from Least to Most, as
// those of Ironic's fake interfaces do.
func (d Delay) Draw(u float64) time.Duration {
	return d.Least + time.Duration(float64(d.Most-d.Least)*(1-math.Sqrt(1-u)))
}

// ParseDelays reads settings of the form INTERFACE=SECONDS or INTERFACE=LEAST-MOST; request.invalid otherwise.
func ParseDelays(list []string) (map[string]Delay, error) {
	out := map[string]Delay{}
	for _, text := range list {
		kind, span, _ := strings.Cut(text, "=")
		least, most, ranged := strings.Cut(span, "-")
		if !ranged {
			most = least
		}
		d := Delay{seconds(least), seconds(most)}
		if !slices.Contains(StepKinds, kind) || d.Least < 0 || d.Most < d.Least || d.Most > longestDelay {
			return nil, fault.New(fault.RequestInvalid, "%.80q is no delay", text).
				WithHint("write INTERFACE=SECONDS or INTERFACE=LEAST-MOST, as deploy=5-30, %s at most; the interfaces whose acts can take time are %s", longestDelay, strings.Join(StepKinds, ", "))
		}
		out[kind] = d
	}
	return out, nil
}

// seconds is negative for what is no number of them.
func seconds(text string) time.Duration {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n <= longestDelay.Seconds()) {
		return -1
	}
	return time.Duration(n * float64(time.Second))
}
