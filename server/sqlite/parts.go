package sqlite

import (
	"database/sql"
	"errors"

	"github.com/bessemer-metal/bessemer/server/conductor"
)

func (t *tx) part(node conductor.NodeID, name string, into any) error {
	var body []byte
	err := t.row("SELECT body FROM parts WHERE node = ? AND part = ?", []any{text(string(node)), name}, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return decode(name+" of "+string(node), body, into)
}

func (t *tx) putPart(node conductor.NodeID, name string, all any) error {
	body, err := encode(name+" of "+string(node), all)
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO parts (node, part, body) VALUES (?, ?, ?) ON CONFLICT (node, part) DO UPDATE SET body = excluded.body",
		text(string(node)), name, body)
	if dangling(err) {
		return noNode(string(node))
	}
	return err
}

func (t *tx) BIOSSettings(node conductor.NodeID) (all []conductor.BIOSSetting, err error) {
	return all, t.part(node, "bios", &all)
}

func (t *tx) PutBIOSSettings(node conductor.NodeID, all []conductor.BIOSSetting) error {
	return t.putPart(node, "bios", all)
}

func (t *tx) Firmware(node conductor.NodeID) (all []conductor.FirmwareComponent, err error) {
	return all, t.part(node, "firmware", &all)
}

func (t *tx) PutFirmware(node conductor.NodeID, all []conductor.FirmwareComponent) error {
	return t.putPart(node, "firmware", all)
}
