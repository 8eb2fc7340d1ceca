package volumes

import (
	"testing"

	"github.com/bessemer-metal/bessemer/integration/bubbles"
)

func TestMain(m *testing.M) {
	bubbles.Calm()
	m.Run()
}
