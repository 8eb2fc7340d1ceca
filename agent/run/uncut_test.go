package run

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/shared/step"
)

// TestI07_WhatCantBeCutOffIsToldAtOnce: the server must know before it can't be told any more. What else is reported waits
// for the next heartbeat.
func TestI07_WhatCantBeCutOffIsToldAtOnce(t *testing.T) {
	reports := make(chan func(step.Progress), 1)
	one(t, func(ctx context.Context, c step.Call) (step.Result, error) {
		reports <- c.Report
		<-ctx.Done()
		return step.Result{}, ctx.Err()
	}, func(p *process) {
		report := <-reports
		news := func() bool {
			synctest.Wait()
			select {
			case <-p.exec.Changed():
				return true
			default:
				return false
			}
		}
		news() // that it started
		for i, c := range []struct {
			uncut string
			news  bool
		}{{"", false}, {"format of S0", true}, {"format of S0", false}, {"format of S1", false}, {"", false}, {"format of S2", true}} {
			report(step.Progress{Uncut: c.uncut})
			if got := news(); got != c.news {
				t.Errorf("report %d, %q: a heartbeat is due: %t", i, c.uncut, got)
			}
		}
		p.exec.Abort("one")
	})
}
