package storetest

import (
	"testing"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
	"github.com/bessemer-metal/bessemer/shared/fault"
)

func testParts(t *testing.T, s suite) {
	a, b := Node(1), Node(2)
	s.create(a, b)
	at, low, yes, value := time.Date(2026, 11, 20, 12, 0, 0, 5000, time.UTC), int64(-3), true, "'; DROP TABLE parts;--"
	bios := []conductor.BIOSSetting{{Name: "A", Value: &value, Type: "Integer", Allowed: []string{"x"}, Lower: &low, Unique: &yes, Created: at}, {Name: "B", Created: at, Updated: at}}
	firmware := []conductor.FirmwareComponent{{Component: "bmc", Initial: "1", Current: "2", Flashed: "2", Created: at, Updated: at}}
	put := func(node conductor.NodeID, bios []conductor.BIOSSetting, firmware []conductor.FirmwareComponent) error {
		return s.Update(t.Context(), func(tx conductor.Tx) error {
			if err := tx.PutBIOSSettings(node, bios); err != nil {
				return err
			}
			return tx.PutFirmware(node, firmware)
		})
	}
	want := func(node conductor.NodeID, bios []conductor.BIOSSetting, firmware []conductor.FirmwareComponent) {
		t.Helper()
		s.view(func(tx conductor.Tx) error {
			gotBIOS, err := tx.BIOSSettings(node)
			if err != nil {
				return err
			}
			gotFirmware, err := tx.Firmware(node)
			s.same(gotBIOS, bios)
			s.same(gotFirmware, firmware)
			return err
		})
	}
	want(a.UUID, nil, nil)
	if err := put(a.UUID, bios, firmware); err != nil {
		t.Fatal(err)
	}
	want(a.UUID, bios, firmware)
	want(b.UUID, nil, nil)
	if err := put(a.UUID, bios[:1], []conductor.FirmwareComponent{}); err != nil { // in place of what was there
		t.Fatal(err)
	}
	want(a.UUID, bios[:1], []conductor.FirmwareComponent{})
	s.has(put(ID(9), bios, firmware), fault.NodeNotFound)
	s.update(func(tx conductor.Tx) error { return tx.DeleteNode(a.UUID) })
	want(a.UUID, nil, nil)
}
