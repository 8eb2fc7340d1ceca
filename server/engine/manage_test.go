package engine_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// An act that the caller waits for is in the audit before it begins: also when the store is away after it.
func TestI27_AnActUponTheBMCIsAuditedBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		acts := func() (out []string) {
			for _, a := range s.Audited() {
				if strings.HasPrefix(a.Act, "boot_device") && a.Actor == "ann" && a.Request == "req-1" {
					out = append(out, a.Act)
				}
			}
			return out
		}
		ann, disk := conductor.Caller{Name: "ann", Request: "req-1"}, conductor.BootTarget{Device: "disk", Always: true}
		if err := s.c.SetBootDevice(t.Context(), ann, "n1", disk); err != nil {
			t.Fatal(err)
		}
		if got := acts(); !slices.Equal(got, []string{"boot_device", "boot_device.done"}) {
			t.Errorf("audited %q", got)
		}
		s.board.slow = make(chan struct{})
		done := make(chan error, 1)
		go func() { done <- s.c.SetBootDevice(t.Context(), ann, "n1", disk) }()
		synctest.Wait() // the BMC is at it
		s.fault.set(nil, away, nil)
		close(s.board.slow)
		if err := <-done; !fault.Has(err, fault.StorageUnavailable) {
			t.Errorf("the store is away: %v", err)
		}
		s.fault.set(nil, nil, nil)
		if got := acts(); !slices.Equal(got, []string{"boot_device", "boot_device.done", "boot_device"}) {
			t.Errorf("audited %q", got)
		}
		time.Sleep(time.Minute) // the lease that nobody gave back has run out
		s.doubt.Store(fault.New(fault.StorageLost, "another server has it"))
		if err := s.c.SetBootDevice(t.Context(), ann, "n1", disk); !fault.Has(err, fault.StorageLost) {
			t.Errorf("without the store's lease: %v", err)
		}
		s.doubt.Store(nil)
		if got := s.Audited(); got[len(got)-1].Act != "boot_device.failed" || got[len(got)-1].Detail["reason"] != string(fault.StorageLost) {
			t.Errorf("a failed act is audited as %+v", got[len(got)-1])
		}
	})
}
