package engine_test

import (
	"testing"
	"testing/synctest"

	"github.com/bessemer-metal/bessemer/shared/state"
)

// A pause may stand in front of a step that touches disks: the clock ends it, and the disks are read then.
func TestAPauseInFrontOfADiskStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.manageable()
		s.provision(manual("deploy.erase_devices_metadata", "vendor.wait=xxx", "deploy.erase_devices"))
		a := s.agent(<-s.board.booted)
		a.run("deploy.erase_devices_metadata", nil)
		a.run("deploy.erase_devices", erased())
		s.until(state.Manageable)
	})
}
