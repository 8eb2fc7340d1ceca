package machine

import (
	"net/http"
	"slices"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/server/rest/serve"
	"github.com/bessemer-metal/bessemer/shared/api"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

// bootDeviceNames maps what is served to the conductor's words, which are the same.
var bootDeviceNames = []string{"bios", "cdrom", "disk", "floppy", "pxe", "uefihttp"}

func (a *API) bootDevice(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	b, err := a.backend.BootDevice(c.R.Context(), id)
	if err != nil {
		return err
	}
	answer := api.BootDevice{}
	if slices.Contains(bootDeviceNames, b.Device) {
		answer = api.BootDevice{BootDevice: &b.Device, Persistent: &b.Always}
	}
	return c.JSON(http.StatusOK, answer)
}

func (a *API) setBootDevice(c *serve.Call) error {
	id, err := c.Node()
	if err != nil {
		return err
	}
	body, err := c.Body(false, "boot_device", "persistent")
	if err != nil {
		return err
	}
	b := conductor.BootTarget{}
	b.Device, _ = body["boot_device"].(string)
	if b.Device == "uefihttp" || !slices.Contains(bootDeviceNames, b.Device) {
		return fault.New(fault.RequestInvalid, "boot_device is %q, expected one of bios, cdrom, disk, floppy, pxe", b.Device)
	}
	if v := body["persistent"]; v != nil {
		if b.Always, err = api.Bool(v); err != nil {
			return fault.New(fault.RequestInvalid, "persistent: %v", err)
		}
	}
	if err := a.backend.SetBootDevice(c.R.Context(), c.Who, id, b); err != nil {
		return err
	}
	return c.Empty(http.StatusNoContent)
}
