package raid_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	goleak.VerifyTestMain(m)
}
