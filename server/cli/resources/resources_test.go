package resources_test

import (
	"strings"
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/cli/clitest"
	"github.com/bessemer-metal/bessemer/shared/api"
)

func TestGolden(t *testing.T) {
	server := clitest.Canned(t, map[string]any{
		"/v1/ports":  api.PortList{Ports: []api.Port{{UUID: "5d1f8f5e-6f0e-4c2d-8d5c-6a8c6f6a8f01", Address: "52:54:00:12:34:56", NodeUUID: clitest.ID, PXEEnabled: true}}},
		"/v1/images": api.ImageList{Images: []api.Image{{Name: "debian.raw.zst", Format: "raw.zst", Size: 345678901, SHA256: strings.Repeat("ab", 32), Created: clitest.Now.Add(-time.Hour)}}},
	})
	for name, args := range map[string][]string{"ports.txt": {"port", "list"}, "images.txt": {"image", "list"}} {
		t.Run(name, func(t *testing.T) { clitest.Golden(t, name, clitest.Run(t, server, false, args...)) })
	}
}
