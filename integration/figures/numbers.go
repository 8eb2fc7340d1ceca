package figures

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Table is the figures of a set, as Markdown.
func (s Set) Table() string {
	var b strings.Builder
	b.WriteString("| | measured | | to reach |\n|---|---:|---|---|\n")
	for _, f := range s.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.What, Number(f.Value), f.Unit, f.Target)
	}
	return b.String()
}

// Number writes a value with three digits that mean something, and large ones in full.
func Number(v float64) string {
	if v >= 100 || v <= -100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func Median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	if len(s)%2 == 0 {
		return (s[len(s)/2-1] + s[len(s)/2]) / 2
	}
	return s[len(s)/2]
}

// Share is the duration that a share of all, in ascending order, did not exceed; 0 of none.
func Share(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(share*float64(len(sorted))))-1)]
}

// Milliseconds is a duration in ms.
func Milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
