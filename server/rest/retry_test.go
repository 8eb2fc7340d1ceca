package rest_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest"
	"github.com/bessemer-metal/bessemer/server/rest/login"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// failing is a conductor whose look-ups of nodes fail.
type failing struct {
	*backend
	reason fault.Reason
}

func (f failing) Node(context.Context, string) (conductor.Node, error) {
	return conductor.Node{}, fault.New(f.reason, "it is so")
}

// Ironic's own client fails by itself, where it would try again, when an answer has Retry-After with another status than 413.
func TestOperatorsAreNotToldWhenToComeBack(t *testing.T) {
	for reason, status := range map[fault.Reason]int{fault.NodeBusy: 409, fault.StorageUnavailable: 503} {
		s := newServer(t)
		s.handler = rest.New(rest.Config{Backend: failing{s.backend, reason}, Auth: login.None{}, Hostname: "lab", Started: now,
			Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler)})
		if !fault.New(reason, "").Code.Retriable() {
			t.Errorf("%s is not worth trying again, so nothing was tried", reason)
		}
		if a := s.want(s.do("GET", first, ""), status); len(a.Header().Values("Retry-After")) > 0 {
			t.Errorf("%s: Retry-After %q", reason, a.Header().Values("Retry-After"))
		}
	}
}
