package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// shown is how often a line of figures is written.
const shown = 5 * time.Second

// Run is a whole simulation: it registers the fleet, cleans it, and when rate is not 0 sends heartbeats at that rate.
// It ends when every cleaning has ended, or when lasting has passed since the machines were there; out gets a line of
// figures every few seconds, and the summary as JSON at the end, also when ctx ended it.
func Run(ctx context.Context, o Options, rate float64, lasting time.Duration, out io.Writer) error {
	f, err := New(o)
	if err != nil {
		return err
	}
	defer f.Close()
	watch, end := context.WithCancel(ctx)
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.show(watch, out)
	}()
	beats, err := f.life(ctx, rate, lasting)
	end()
	<-done
	s := f.Summary()
	s.Beats = beats
	if states, stateErr := f.States(context.WithoutCancel(ctx)); stateErr == nil {
		s.States = states
	} else {
		err = errors.Join(err, stateErr)
	}
	text, encodeErr := json.MarshalIndent(s, "", "  ")
	if encodeErr != nil {
		return errors.Join(err, encodeErr)
	}
	fmt.Fprintln(out, string(text))
	if s.Repeated > 0 {
		err = errors.Join(err, fmt.Errorf("%d steps were executed twice", s.Repeated))
	}
	return err
}

// life takes the fleet from its registration to the end of what was asked for.
func (f *Fleet) life(ctx context.Context, rate float64, lasting time.Duration) (*Timing, error) {
	for _, act := range []func(context.Context) error{f.Register, f.Manage, f.Provide, f.gathered} {
		if err := act(ctx); err != nil {
			return nil, err
		}
	}
	if rate > 0 {
		f.Joined(ctx, f.Nodes)
		t, err := f.Beats(ctx, rate, lasting)
		return &t, err
	}
	if lasting <= 0 {
		return nil, f.Idle(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	if err := f.Idle(limited); err != nil && limited.Err() == nil {
		return nil, err
	}
	return nil, ctx.Err()
}

// gathered waits until every machine is on, and then releases their agents. Without Gather they are on their way.
func (f *Fleet) gathered(ctx context.Context) error {
	if !f.Gather {
		return nil
	}
	for f.Booted() < f.Nodes {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	f.Release()
	return nil
}

// show writes the lines of figures.
func (f *Fleet) show(ctx context.Context, out io.Writer) {
	for n := 0; pause(ctx, shown) == nil; n++ {
		if n%20 == 0 {
			fmt.Fprintf(out, "%8s %8s %8s %12s %10s %12s %12s %8s %8s\n", "time", "booted", "looked up", "lookup p99", "heartbeats", "steps run", "gap p99", "refused", "errors")
		}
		s := f.Summary()
		fmt.Fprintf(out, "%7.0fs %8d %8d %10.1fms %10d %12d %10.1fms %8d %8d\n", s.Seconds, s.Booted, s.Lookups.Count, s.Lookups.P99, s.Heartbeats.Count,
			s.Executed, s.StepGap.P99, sum(s.Refused), sum(s.Errors))
	}
}

func sum(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
