package nodes

import (
	"context"
	"time"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

// KeepParts stores what a reading brought, when it differs from what is there.
func KeepParts(tx conductor.Tx, node conductor.NodeID, p *conductor.Parts, now time.Time) error {
	if p == nil {
		return nil
	}
	if p.BIOS != nil {
		kept, err := tx.BIOSSettings(node)
		if err != nil {
			return err
		}
		if all, changed := conductor.MergeBIOS(kept, p.BIOS, now); changed {
			if err := tx.PutBIOSSettings(node, all); err != nil {
				return err
			}
		}
	}
	if p.Firmware != nil {
		kept, err := tx.Firmware(node)
		if err != nil {
			return err
		}
		if all, changed := conductor.MergeFirmware(kept, p.Firmware, now); changed {
			return tx.PutFirmware(node, all)
		}
	}
	return nil
}

// BIOSSettings lists what was read last of the machine's BIOS.
func (k *Keeper) BIOSSettings(ctx context.Context, ident string) (n conductor.Node, all []conductor.BIOSSetting, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		if n, err = Find(tx, ident); err != nil {
			return err
		}
		all, err = tx.BIOSSettings(n.UUID)
		return err
	})
	return n, all, err
}

// Firmware lists what was read last of the machine's firmware.
func (k *Keeper) Firmware(ctx context.Context, ident string) (n conductor.Node, all []conductor.FirmwareComponent, err error) {
	err = k.cfg.Store.View(ctx, func(tx conductor.Tx) error {
		if n, err = Find(tx, ident); err != nil {
			return err
		}
		all, err = tx.Firmware(n.UUID)
		return err
	})
	return n, all, err
}
